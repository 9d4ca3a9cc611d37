import { atLeast, bad, json, text } from './arguments.js';
import { Background, resume } from './background.js';
import { closed, ScaleError } from './errors.js';
import { Link, listen, type Extras } from './link.js';
import { nativeModule, type Method, type Native } from './native.js';
import { NAME, type CallOptions, type Options, type ParticipateOptions } from './options.js';
import type {
  Example, Guardrails, ModelInfo, Outcome, Prediction, PrivacyReport, PutSummary, Status,
} from './types.js';

/** Told when {@link ScaleClient.status} has changed. */
export type StatusListener = (event: { readonly type: 'status' }) => void;

/**
 * One installation of an app, for one task that classifies lines of text. Its calls run on threads of the native library, and
 * one participation runs at a time; all other calls may be made meanwhile.
 *
 * Tells listeners of `status` when {@link ScaleClient.status} has changed: after a call, or a round in the background.
 */
export class ScaleClient {
  /** Rounds in the background. */
  readonly background: Background;
  readonly #native: Native;
  readonly #configuration: string;
  readonly #link: Link;
  readonly #listeners = new Set<StatusListener>();
  readonly #news: { remove(): void };
  #closed = false;

  private constructor(native: Native, link: Link, configuration: string) {
    this.#native = native;
    this.#configuration = configuration;
    this.#link = link;
    this.#news = native.addListener('status', () => this.#changed());
    this.background = new Background(native, () => {
      if (this.#closed) throw closed();
      return configuration;
    });
  }

  /**
   * Opens the installation. Nothing is sent yet.
   *
   * @throws {ScaleError} of kind `configuration`; `unsupported` in an app without the native part, such as Expo Go; `usage` with
   *   the code `folder_in_use` if a client with other options has the installation open.
   */
  static async create(options: Options): Promise<ScaleClient> {
    const native = nativeModule();
    const configuration = configurationOf(options);
    const link = await Link.open(native, configuration);
    // With these options: an update of the app may have changed them.
    await resume(native, configuration);
    return new ScaleClient(native, link, configuration);
  }

  /**
   * Exchanges an enrollment token for a device identity, or renews the device's own token if it was refused or ends soon.
   * Otherwise nothing is sent. Resolves with the device id.
   */
  async enroll(token: string, { signal }: CallOptions = {}): Promise<string> {
    const device = await this.#changing(this.#text('enroll', () => [text('token', token)], { signal }));
    // Rounds in the background end when the device's token does.
    await resume(this.#native, this.#configuration);
    return device;
  }

  /**
   * Stores examples; one whose id is stored replaces the old one. If one is refused, none is stored. If the device's storage
   * fails on the way, some are stored: put the same examples again.
   */
  async put(examples: Example[]): Promise<PutSummary> {
    return this.#changing(this.#call<PutSummary>('put', () => [json('examples', examples)]));
  }

  /** Deletes examples permanently. Resolves with how many of the ids were there. */
  async remove(ids: string[]): Promise<number> {
    return this.#changing(this.#call<number>('remove', () => texts('ids', ids)));
  }

  /** Classifies lines with the model on this device, without network. `top`: labels for each line, default 1. */
  async predict(lines: string[], { top = 1 }: { top?: number } = {}): Promise<Prediction[]> {
    return this.#call('predict', () => [String(atLeast('top', 1, top)), ...texts('texts', lines)]);
  }

  /** Downloads the newest model. Resolves with null if it is on this device already. */
  async refreshModel({ signal }: CallOptions = {}): Promise<ModelInfo | null> {
    return this.#changing(this.#call<ModelInfo | null>('refreshModel', () => [], { signal }));
  }

  /** Takes part in one round with the stored examples, or continues a round that was interrupted. */
  async participate({ signal, onProgress, ...run }: ParticipateOptions = {}): Promise<Outcome> {
    return this.#changing(this.#call<Outcome>('participate', () => [runOptions(run)], { signal, onProgress }));
  }

  /** The status of the installation, also while a round runs. */
  async status(): Promise<Status> {
    return this.#call('status');
  }

  /** The report of the privacy ledger. While a round runs, it is as of the last record. */
  async privacyReport(): Promise<PrivacyReport> {
    return this.#call('privacyReport');
  }

  /** The report as JSON, for the person to keep. */
  async exportPrivacyReport(): Promise<string> {
    return this.#text('exportPrivacyReport');
  }

  /** Replaces a locked privacy ledger by a new one. Resolves with false, and changes nothing, if it is intact. */
  async resetPrivacyLedger(): Promise<boolean> {
    return this.#changing(this.#call<boolean>('resetPrivacyLedger'));
  }

  /** The limits as they hold: for each, the stricter of the app's and the compiled one. */
  async guardrails(): Promise<Guardrails> {
    return this.#call('guardrails');
  }

  /**
   * Deletes a person's data: their examples, or everything of this installation, which also ends its identity and its record
   * of the privacy budget spent.
   */
  async forget(what: 'examples' | 'everything'): Promise<void> {
    const checked = () => {
      if (what !== 'examples' && what !== 'everything') throw bad('what', 'is neither "examples" nor "everything"');
      return [what];
    };
    await this.#changing(this.#text('forget', checked));
  }

  /**
   * Pauses what runs through this client, and waits until nothing is written any more. Rounds in the background go on: end
   * them with `background.disable`.
   */
  async close(): Promise<void> {
    this.#closed = true;
    this.#news.remove();
    this.#listeners.clear();
    await this.#link.close();
  }

  addEventListener(type: 'status', listener: StatusListener): void {
    if (type === 'status' && !this.#closed) this.#listeners.add(listener);
  }

  removeEventListener(type: 'status', listener: StatusListener): void {
    if (type === 'status') this.#listeners.delete(listener);
  }

  /** `args`: checked here, so that a mistake of the app is its own error and does not cross. */
  async #text(method: Method, args: () => string[] = () => [], extras?: Extras): Promise<string> {
    if (this.#closed) throw closed();
    return this.#link.call(method, args(), extras);
  }

  async #call<T>(method: Method, args?: () => string[], extras?: Extras): Promise<T> {
    return JSON.parse(await this.#text(method, args, extras)) as T;
  }

  async #changing<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } finally {
      this.#changed();
    }
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listen(() => listener({ type: 'status' }));
  }
}

/** JSON of the options; `folder` is the installation's name, which the native side puts into the app's own storage. */
function configurationOf({ name = NAME, ...options }: Options): string {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) {
    const problem = 'the option `name` is not a name of 1 to 64 letters, digits, `-` and `_`';
    throw new ScaleError('configuration', 'bad_option', problem);
  }
  return json('options', { ...options, folder: name });
}

/** JSON of the options of a participation. */
function runOptions({ budgetMs, ...run }: ParticipateOptions): string {
  return json('options', budgetMs === undefined ? run : { ...run, budgetMs: atLeast('budgetMs', 0, budgetMs) });
}

function texts(name: string, values: unknown): string[] {
  if (!Array.isArray(values)) throw bad(name, 'is not a list of strings');
  return values.map((value, index) => text(`${name}[${index}]`, value));
}
