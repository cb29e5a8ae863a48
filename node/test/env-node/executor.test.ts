import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';

import { NodeExecutor } from '../../src/env-node/executor.ts';
import type { Job } from '../../src/env/executor.ts';
import * as jobs from './jobs.ts';

let executor: NodeExecutor;

beforeEach(() => {
  executor = new NodeExecutor(1);
});

afterEach(async () => {
  await executor.close();
});

describe('NodeExecutor on one thread', () => {
  test('runs a job over the disk on a worker and answers its result', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'coterie-executor-'));
    try {
      const path = join(directory, 'file');
      await expect(executor.run(jobs.writeFile, { path, text: 'written off the loop' }, 'urgent')).resolves.toBe(20);
      expect(readFileSync(path, 'utf8')).toBe('written off the loop');
      await expect(executor.run(jobs.writeFile, { path, text: '' }, 'urgent')).rejects.toMatchObject({
        name: 'VfsError',
        code: 'EXISTS',
        path,
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('gives every second slice to urgent jobs; jobs of one priority take turns; shared memory is shared', async () => {
    const shared = new SharedArrayBuffer(64);
    const start = (letter: string, slices: number, priority: 'urgent' | 'background'): Promise<number> =>
      executor.run(jobs.trace, { letter, slices, shared }, priority);
    // Once the worker is up and knows the module, the three arrive together.
    await executor.run(jobs.trace, { letter: '-', slices: 0, shared }, 'background');
    const all = [start('a', 6, 'background'), start('b', 6, 'background'), start('U', 4, 'urgent')];
    await Promise.all(all);
    const bytes = new Uint8Array(shared);
    const seen = String.fromCharCode(...bytes.subarray(1, 1 + (bytes[0] ?? 0)));
    expect(seen).toHaveLength(16);
    expect(seen.replaceAll('U', '')).toMatch(/^a*(ab|ba)+a*b*$/);
    // From the first urgent slice to the last, no two background slices in a row.
    expect(seen.slice(seen.indexOf('U'), seen.lastIndexOf('U') + 1)).toMatch(/^(U[ab])*U$/);
  });

  test('leaves the processor to event loops: its thread is nicer, and no other', async () => {
    const usual = getPriority();
    await expect(executor.run(jobs.niceness, undefined, 'urgent')).resolves.toBe(Math.min(19, Math.max(usual, 10)));
    expect(getPriority()).toBe(usual);
  });

  test('background jobs take the share they are given, and urgent ones are not held up', async () => {
    await executor.run(jobs.work, { slices: 1, sliceMs: 1 }, 'background');
    executor.pace(0.1);
    const background = executor.run(jobs.work, { slices: 4, sliceMs: 20 }, 'background');
    const urgent = await executor.run(jobs.work, { slices: 4, sliceMs: 20 }, 'urgent');
    const paced = await background;
    // Between four slices there are three pauses of nine slices each; urgent slices have at most one other between them.
    expect(paced.spanMs).toBeGreaterThan(3 * 9 * 20);
    expect(urgent.spanMs).toBeLessThan(paced.spanMs / 2);
    const again = executor.run(jobs.work, { slices: 2, sliceMs: 20 }, 'background');
    executor.pace(1);
    await again;
  });

  test('a job that turns does not hold up others', async () => {
    const flag = new SharedArrayBuffer(1);
    const waiting = executor.run(jobs.waitForFlag, flag, 'urgent');
    await executor.run(jobs.trace, { letter: 'x', slices: 3, shared: new SharedArrayBuffer(8) }, 'background');
    new Uint8Array(flag)[0] = 1;
    await expect(waiting).resolves.toBe('seen');
  });

  test('errors keep their name, code and message', async () => {
    await expect(executor.run(jobs.fail, 'coded', 'urgent')).rejects.toMatchObject({
      name: 'CoterieError',
      code: 'DATA_DAMAGED',
      message: 'block 7',
    });
    await expect(executor.run(jobs.fail, 'plain', 'urgent')).rejects.toMatchObject({ name: 'RangeError', message: 'out of it' });
    await expect(executor.run(jobs.fail, 'uncloneable', 'urgent')).rejects.toMatchObject({ name: 'DataCloneError' });
    const nowhere: Job<'coded', unknown> = { ...jobs.fail, name: 'nowhere' };
    await expect(executor.run(nowhere, 'coded', 'urgent')).rejects.toThrow(/exports no job nowhere/);
  });

  test('a worker that dies fails its jobs with INTERNAL, and the next job gets a new one', async () => {
    const held = executor.run(jobs.waitForFlag, new SharedArrayBuffer(1), 'background');
    const dying = executor.run(jobs.fail, 'die', 'urgent');
    await expect(dying).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(held).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(executor.run(jobs.fail, 'plain', 'urgent')).rejects.toMatchObject({ name: 'RangeError' });
  });

  test('close lets running jobs end and refuses later ones', async () => {
    const flag = new SharedArrayBuffer(1);
    const waiting = executor.run(jobs.waitForFlag, flag, 'urgent');
    const closed = executor.close();
    await expect(executor.run(jobs.fail, 'plain', 'urgent')).rejects.toMatchObject({ code: 'CLOSED' });
    new Uint8Array(flag)[0] = 1;
    await expect(waiting).resolves.toBe('seen');
    await closed;
  });
});

describe('NodeExecutor on two threads', () => {
  let two: NodeExecutor;

  beforeEach(() => {
    two = new NodeExecutor();
  });

  afterEach(async () => {
    await two.close();
  });

  test('runs two jobs at the same time', async () => {
    const shared = new SharedArrayBuffer(4);
    const meeting = [two.run(jobs.meet, shared, 'urgent'), two.run(jobs.meet, shared, 'background')];
    await expect(Promise.all(meeting)).resolves.toEqual([true, true]);
  });

  test('a worker that dies takes no job of the other one along', async () => {
    const flag = new SharedArrayBuffer(1);
    const held = two.run(jobs.waitForFlag, flag, 'background');
    await expect(two.run(jobs.fail, 'die', 'urgent')).rejects.toMatchObject({ code: 'INTERNAL' });
    const closed = two.close();
    new Uint8Array(flag)[0] = 1;
    await expect(held).resolves.toBe('seen');
    await closed;
  });
});
