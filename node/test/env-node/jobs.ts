/** Jobs for the tests of NodeExecutor. */

import { getPriority } from 'node:os';
import { CoterieError } from '../../src/base/errors.ts';
import type { Job } from '../../src/env/executor.ts';
import type { SyncVfs } from '../../src/env/vfs.ts';

const module = import.meta.url;

/** Adds 1 to the shared counter in each of `slices` slices, noting its letter in the shared trace. */
export const trace: Job<{ letter: string; slices: number; shared: SharedArrayBuffer }, number> = {
  name: 'trace',
  module,
  *run({ letter, slices, shared }): Generator<undefined, number, undefined> {
    const bytes = new Uint8Array(shared);
    for (let slice = 0; slice < slices; slice += 1) {
      const at = (bytes[0] ?? 0) + 1;
      bytes[0] = at;
      bytes[at] = letter.charCodeAt(0);
      yield;
    }
    return slices;
  },
};

/** Takes `sliceMs` of time in each slice; answers the time from the first to the last. */
export const work: Job<{ slices: number; sliceMs: number }, { spanMs: number }> = {
  name: 'work',
  module,
  *run({ slices, sliceMs }): Generator<undefined, { spanMs: number }, undefined> {
    const startedMs = performance.now();
    for (let slice = 1; slice <= slices; slice += 1) {
      const untilMs = performance.now() + sliceMs;
      while (performance.now() < untilMs);
      if (slice < slices) yield;
    }
    return { spanMs: performance.now() - startedMs };
  },
};

/** Turns until the shared flag is set: it shows that others run meanwhile. */
export const waitForFlag: Job<SharedArrayBuffer, string> = {
  name: 'waitForFlag',
  module,
  *run(shared): Generator<undefined, string, undefined> {
    while (new Uint8Array(shared)[0] === 0) yield;
    return 'seen';
  },
};

/** Holds its thread until two of it are there at the same time; false if that does not come. */
export const meet: Job<SharedArrayBuffer, boolean> = {
  name: 'meet',
  module,
  *run(shared): Generator<undefined, boolean, undefined> {
    const there = new Int32Array(shared);
    Atomics.add(there, 0, 1);
    Atomics.notify(there, 0);
    while (Atomics.load(there, 0) < 2) if (Atomics.wait(there, 0, 1, 20_000) === 'timed-out') return false;
    yield;
    return true;
  },
};

export const writeFile: Job<{ path: string; text: string }, number> = {
  name: 'writeFile',
  module,
  *run({ path, text }, disk: SyncVfs): Generator<undefined, number, undefined> {
    const file = disk.open(path, 'create');
    yield;
    file.write(Buffer.from(text), 0);
    file.dataSync();
    yield;
    const size = file.size();
    file.close();
    return size;
  },
};

/** Answers the niceness of its thread. */
export const niceness: Job<undefined, number> = {
  name: 'niceness',
  module,
  *run(): Generator<undefined, number, undefined> {
    yield;
    return getPriority();
  },
};

export const fail: Job<'coded' | 'plain' | 'die' | 'uncloneable', unknown> = {
  name: 'fail',
  module,
  *run(how): Generator<undefined, unknown, undefined> {
    yield;
    switch (how) {
      case 'coded':
        throw new CoterieError('DATA_DAMAGED', 'block 7');
      case 'plain':
        throw new RangeError('out of it');
      case 'die':
        setImmediate(() => {
          throw new Error('not in a job');
        });
        for (;;) yield;
      case 'uncloneable':
        return () => 'functions cannot cross';
    }
  },
};
