import { withInfoPlist, type ConfigPlugin } from 'expo/config-plugins';

/** Of the task that iOS runs for rounds in the background; `ios/RoundsInBackground.swift` registers it. */
const IDENTIFIER = 'io.scalefl.rounds';

/** Options in `app.json`. */
export interface PluginOptions {
  /** Whether rounds may run in the background; default true. Android needs nothing for it. */
  background?: boolean;
}

/** Lets iOS run rounds in the background. */
const withScaleFL: ConfigPlugin<PluginOptions | void> = (config, options) => {
  if (options?.background === false) return config;
  return withInfoPlist(config, (config) => {
    const plist = config.modResults;
    plist.BGTaskSchedulerPermittedIdentifiers = including(plist.BGTaskSchedulerPermittedIdentifiers, IDENTIFIER);
    plist.UIBackgroundModes = including(plist.UIBackgroundModes, 'processing');
    return config;
  });
};

export default withScaleFL;

/** A list of `Info.plist` with this in it, once. */
function including(list: unknown, value: string): string[] {
  const values: string[] = Array.isArray(list) ? list : [];
  return values.includes(value) ? values : [...values, value];
}
