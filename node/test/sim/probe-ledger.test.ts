/** What the world sees of probes: frames made here, by hand. */

import { describe, expect, test } from '@jest/globals';
import { ProbeLedger } from '../../sim/world/probe-ledger.ts';

const GOSSIP = 23;
const REPLY = 1;

function frame(type: number, flags: number, payload: number): Uint8Array {
  const bytes = Buffer.alloc(26 + payload, 0x17);
  bytes.writeUInt32BE(bytes.length - 4, 0);
  bytes[4] = type;
  bytes[5] = flags;
  return bytes;
}

function ledger(): { readonly ledger: ProbeLedger; readonly pass: (ms: number) => void } {
  let nowUs = 0;
  return {
    ledger: new ProbeLedger(() => nowUs),
    pass: (ms) => {
      nowUs += ms * 1000;
    },
  };
}

describe('the ledger of probes', () => {
  test('counts from the first request or attempt to connect to the first word that comes back', () => {
    const { ledger: seen, pass } = ledger();
    const stream = {};
    seen.wrote('a', 'm', Buffer.concat([frame(18, 0, 100), frame(GOSSIP, 0, 9), frame(19, 0, 3)]));
    pass(1000);
    seen.connects('a', 'm');
    seen.connectFailed('a', 'm');
    pass(500);
    expect(seen.longest('a', 'm')).toEqual({ ms: 1500, attempts: 2 });
    seen.received('a', 'm', stream, frame(18, REPLY, 40));
    pass(500);
    expect(seen.longest('a', 'm')).toEqual({ ms: 2000, attempts: 2 });
    seen.received('a', 'm', stream, frame(GOSSIP, REPLY, 40));
    pass(500);
    // Others may still speak of it for a while.
    expect(seen.longest('a', 'm')).toEqual({ ms: 2000, attempts: 2 });
    pass(31_000);
    expect(seen.longest('a', 'm')).toEqual({ ms: 0, attempts: 0 });
    expect(seen.longest('m', 'a')).toEqual({ ms: 0, attempts: 0 });
  });

  test('an attempt to connect that goes on is one, also after a word that came another way', () => {
    const { ledger: seen, pass } = ledger();
    seen.connects('a', 'm');
    pass(1000);
    seen.received('a', 'm', {}, frame(GOSSIP, 0, 40));
    pass(3000);
    expect(seen.longest('a', 'm')).toEqual({ ms: 3000, attempts: 1 });
    seen.connectFailed('a', 'm');
    seen.received('a', 'm', {}, frame(GOSSIP, 0, 40));
    pass(4000);
    expect(seen.longest('a', 'm')).toEqual({ ms: 3000, attempts: 1 });
  });

  test('does not take a reply for a probe, nor other messages', () => {
    const { ledger: seen, pass } = ledger();
    seen.wrote('a', 'm', Buffer.concat([frame(GOSSIP, REPLY, 9), frame(22, 0, 9)]));
    pass(5000);
    expect(seen.longest('a', 'm')).toEqual({ ms: 0, attempts: 0 });
  });

  test('finds the heads of frames that arrive cut anywhere', () => {
    const { ledger: seen, pass } = ledger();
    const bytes = Buffer.concat([frame(18, REPLY, 300), frame(GOSSIP, REPLY, 40)]);
    for (let cut = 1; cut < bytes.length; cut += 1) {
      const stream = {};
      const name = `m${String(cut)}`;
      seen.connects('a', name);
      pass(1);
      seen.received('a', name, stream, bytes.subarray(0, cut));
      seen.received('a', name, stream, bytes.subarray(cut));
      pass(1);
      expect(seen.longest('a', name).ms).toBe(1);
    }
  });

  test('remembers what an observer that has died had seen, and goes on no further', () => {
    const { ledger: seen, pass } = ledger();
    seen.connects('a', 'm');
    seen.connects('b', 'm');
    pass(3000);
    seen.connects('a', 'm');
    seen.died('a');
    pass(1000);
    expect(seen.longest('a', 'm')).toEqual({ ms: 3000, attempts: 2 });
    expect(seen.longest('b', 'm')).toEqual({ ms: 4000, attempts: 1 });
  });
});
