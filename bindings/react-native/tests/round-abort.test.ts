// An abort on its whole way: TypeScript, JSON, the Android module's Kotlin, the library, and the coordinator.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import type { Outcome } from '@scale-fl/react-native';

import { contributes, Scene, TASK } from './support/scene.js';

/** The library has 200 ms; this also counts two processes, which may be slow on a busy machine. */
const AT_ONCE_MS = 400;
const ATTEMPTS = 3;

let scene: Scene;
before(async () => {
  // A crowd takes part in round after round; one of them waits in vain when the app joins too.
  scene = await Scene.set({ gate: true, task: { devices: 13, stage_ms: 4_000, grace_ms: 500 } });
  await scene.world.tell('crowd', { task: TASK, count: 13 });
});
after(() => scene.close());

/** Aborts somebody new whose call of this kind is withheld; how that ended, and how long it took. */
async function aborted(call: string): Promise<{ outcome: Outcome; ms: number }> {
  const client = await scene.enrolled();
  try {
    for (;;) {
      await scene.world.tell('hold', { call });
      const abort = new AbortController();
      const running = client.participate({ signal: abort.signal });
      const early = await Promise.race([running, scene.world.tell('reached', { call })]);
      if ((early as Outcome).kind === 'waited') {
        // The others were in a round just now.
        await scene.world.tell('release', { call });
        await new Promise((resolve) => setTimeout(resolve, 500));
        continue;
      }
      const from = performance.now();
      abort.abort();
      const outcome = await running;
      const ms = performance.now() - from;
      await scene.world.tell('release', { call });
      return { outcome, ms };
    }
  } finally {
    await client.close();
  }
}

function leavesAtOnce(call: string): void {
  test(`an abort while ${call} is not answered leaves the round at once`, { timeout: 120_000 }, async (context) => {
    let ms = Infinity;
    for (let attempt = 0; attempt < ATTEMPTS && ms > AT_ONCE_MS; attempt++) {
      const aborting = await aborted(call);
      const { outcome } = aborting;
      ms = aborting.ms;
      assert.deepEqual([outcome.kind, outcome.kind === 'left' && outcome.code], ['left', 'cancelled'], JSON.stringify(outcome));
      context.diagnostic(`${call}: ${Math.round(ms)} ms`);
    }
    assert.ok(ms <= AT_ONCE_MS, `${ms} ms`);
  });
}

// Before a round, at its end, and in its middle. The tests in Swift and Kotlin stop the library in each of its phases, and
// abort.test.ts this package. The one in the middle comes last: the crowd needs a minute after it.
leavesAtOnce('checking_in');
leavesAtOnce('unmasking');

test('after them, the next device contributes', { timeout: 120_000 }, async () => {
  const client = await scene.enrolled();
  await contributes(client);
  await client.close();
});

leavesAtOnce('uploading');
