import { expect, test } from '@jest/globals';

import { DEFAULT_LIMITS, limitsForPeers } from '../../src/transport/limits.ts';

const MIB = 1024 * 1024;

test('peers share what they may hold together, and each has room for one message', () => {
  for (const peers of [0, 1, 2, 8]) {
    const { maxQueueBytes, maxAssemblyBytes } = DEFAULT_LIMITS;
    expect(limitsForPeers(peers)).toEqual({ maxQueueBytes, maxAssemblyBytes });
  }
  expect(limitsForPeers(16)).toEqual({ maxQueueBytes: 16 * MIB, maxAssemblyBytes: 32 * MIB });
  expect(limitsForPeers(999)).toEqual({ maxQueueBytes: 16 * MIB, maxAssemblyBytes: 16 * MIB });
});
