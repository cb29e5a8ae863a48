import { describe, expect, test } from '@jest/globals';

import { type StoreId, storeId } from '../../src/base/ids.ts';
import {
  advanceWalk,
  type CopyProgress,
  judgeProgress,
  type Neighbours,
  resumeWalk,
  walkPosition,
} from '../../src/cluster/membership/synchronisation.ts';

const store = (letter: string): StoreId => storeId(letter.repeat(32));
const NONE: CopyProgress = { sources: {} };

function near(changes: Partial<Neighbours> = {}): Neighbours {
  return { self: 0, names: ['n0', 'n1', 'n2', 'n3'], partitions: [[0, 1, 2]], n: 3, w: 2, ...changes };
}

function walked(...sources: readonly [string, boolean][]): CopyProgress {
  let progress = NONE;
  for (const [name, full] of sources) progress = advanceWalk(progress, name, resumeWalk(progress, name, store('a')), undefined, full);
  return progress;
}

describe('the rule', () => {
  test('N-W+1 synchronised others suffice', () => {
    expect(judgeProgress(NONE, near())).toMatchObject({ synchronised: false, partitionsDone: 0, missing: ['n1', 'n2'] });
    expect(judgeProgress(walked(['n1', true]), near())).toMatchObject({ synchronised: false, missing: ['n2'] });
    expect(judgeProgress(walked(['n1', true], ['n2', true]), near()).synchronised).toBe(true);
    expect(judgeProgress(walked(['n1', true]), near({ w: 3 })).synchronised).toBe(true);
  });

  test('never more than all the others are asked for', () => {
    expect(judgeProgress(walked(['n1', true], ['n2', true]), near({ w: 1 })).synchronised).toBe(true);
  });

  test('sources that were not synchronised suffice only when they are all the others', () => {
    expect(judgeProgress(walked(['n1', false]), near({ w: 3 }))).toMatchObject({ synchronised: false, missing: ['n1', 'n2'] });
    expect(judgeProgress(walked(['n1', false], ['n2', true]), near()).synchronised).toBe(true);
    expect(judgeProgress(walked(['n1', false], ['n2', false]), near()).synchronised).toBe(true);
  });

  test('holds for each partition by itself', () => {
    const two = near({
      partitions: [
        [0, 1, 2],
        [3, 0, 1],
      ],
    });
    expect(judgeProgress(walked(['n1', true], ['n2', true]), two)).toEqual({ synchronised: false, partitionsDone: 1, missing: ['n3'] });
  });

  test('with N=1 there is nothing to copy', () => {
    expect(judgeProgress(NONE, near({ n: 1, w: 1, partitions: [[0]] })).synchronised).toBe(true);
  });
});

describe('a walk', () => {
  test('goes on from its cursor, and begins anew when the source changed or has more to give', () => {
    const begun = resumeWalk(NONE, 'n1', store('a'));
    const progress = advanceWalk(NONE, 'n1', begun, '00ff61', true);
    const on = resumeWalk(progress, 'n1', store('a'));
    expect(on).toMatchObject({ cursor: '00ff61', done: false, full: true });
    expect(walkPosition(on)).toBe('\x00\xffa');
    expect(resumeWalk(progress, 'n1', store('b')).cursor).toBe('');
    const partial = advanceWalk(progress, 'n1', on, undefined, false);
    expect(partial.sources['n1']).toMatchObject({ done: true, full: false });
    expect(resumeWalk(partial, 'n1', store('a'))).toMatchObject({ cursor: '', done: false });
  });

  test('is not full if its source was not synchronised at any moment of it', () => {
    const first = advanceWalk(NONE, 'n1', resumeWalk(NONE, 'n1', store('a')), '01', false);
    const second = advanceWalk(first, 'n1', resumeWalk(first, 'n1', store('a')), undefined, true);
    expect(second.sources['n1']).toMatchObject({ done: true, full: false });
  });
});
