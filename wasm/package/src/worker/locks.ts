/** Lets go of a lock. */
export type Release = () => void;

/** Locks that this worker has let go of, and the browser has not yet: it does so a moment later. */
const ending = new Map<string, Promise<unknown>>();

/** Waits for the lock. */
export function wait(name: string): Promise<Release> {
  return request(name, {}) as Promise<Release>;
}

/** Takes the lock if nobody has it. */
export async function take(name: string): Promise<Release | undefined> {
  await ending.get(name);
  return request(name, { ifAvailable: true });
}

function request(name: string, options: LockOptions): Promise<Release | undefined> {
  return new Promise((got, failed) => {
    // The browser keeps the lock until this promise is over, or this worker.
    const held = (lock: Lock | null) =>
      lock === null
        ? got(undefined)
        : new Promise<void>((end) => {
            got(() => {
              ending.set(name, over);
              end();
            });
          });
    const over = navigator.locks.request(name, options, held).then(() => {
      if (ending.get(name) === over) ending.delete(name);
    });
    over.catch(failed);
  });
}
