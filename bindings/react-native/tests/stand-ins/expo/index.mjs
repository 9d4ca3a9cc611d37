// The native modules that a test has put there; like Expo's, it throws if there is none of this name.
export function requireNativeModule(name) {
  const module = globalThis.nativeModules?.[name];
  if (module === undefined) throw new Error(`Cannot find native module '${name}'`);
  return module;
}
