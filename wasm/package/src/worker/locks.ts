/** Lets go of a lock. */
export type Release = () => void;

/** Waits for the lock. */
export function wait(name: string): Promise<Release> {
  return new Promise((resolve, reject) => {
    navigator.locks.request(name, () => held(resolve)).catch(reject);
  });
}

/** Takes the lock if it is free. */
export function take(name: string): Promise<Release | undefined> {
  return new Promise((resolve, reject) => {
    const took = (lock: Lock | null) => (lock === null ? resolve(undefined) : held(resolve));
    navigator.locks.request(name, { ifAvailable: true }, took).catch(reject);
  });
}

/** The browser keeps the lock until the returned promise is over, or this worker. */
function held(got: (release: Release) => void): Promise<void> {
  return new Promise((release) => got(release));
}
