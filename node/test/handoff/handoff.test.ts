import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import type { ErrorCode } from '../../src/base/errors.ts';
import { bucketId, type PartitionId, storeId } from '../../src/base/ids.ts';
import { type DeliveryOut, type DeliveryState, deliveryStep, newDelivery } from '../../src/cluster/handoff/delivery.ts';
import { HintIndex } from '../../src/cluster/handoff/hint-index.ts';
import { debtKey, diskKeyOfHint, hintKey, hintRange, slotOfDebt, slotOfHint } from '../../src/cluster/handoff/hint-key.ts';
import { StandInActor } from '../../src/cluster/handoff/stand-in-actor.ts';
import { partitionOfDiskKey, placeKey, tokenSpace } from '../../src/cluster/ring/token.ts';
import { bits } from '../../src/cluster/quorum/write.ts';
import { fields, play, transcripts, MachineTranscript, mask } from '../quorum/transcript.ts';

const DATA = new URL('testdata/', import.meta.url);

class DeliveryTranscript extends MachineTranscript implements DeliveryOut {
  #state: DeliveryState | undefined;

  protected perform(verb: string, words: readonly string[]): void {
    if (verb === 'hint') {
      const { slot, w, healthy = '' } = fields(words);
      this.#state = newDelivery(Number(slot), Number(w));
      deliveryStep(this.#state, { kind: 'start', healthy: mask(healthy) }, this);
      return;
    }
    if (this.#state === undefined) throw new Error('a transcript begins with a hint');
    const replica = Number(words[0]);
    if (verb === 'confirmed') deliveryStep(this.#state, { kind: 'confirmed', replica }, this);
    else if (verb === 'refused') deliveryStep(this.#state, { kind: 'refused', replica, code: words[1] as ErrorCode }, this);
    else throw new Error(`no command ${verb}`);
  }

  send(replica: number): void {
    this.note(`send to ${String(replica)}`);
  }

  drop(): void {
    this.note('drop');
  }

  keep(refusal: ErrorCode | undefined, again: boolean): void {
    this.note(`keep${refusal === undefined ? '' : ` (${refusal})`}${again ? ', try again' : ''}`);
  }
}

describe('handing a hint off', () => {
  for (const name of transcripts(DATA, 'delivery')) {
    test(name, () => {
      const { actual, expected } = play(new URL(name, DATA), new DeliveryTranscript().run);
      expect(actual).toBe(expected);
    });
  }

  test('ends once, and drops only what its own primary and W in all have confirmed', () => {
    const plan = fc.integer({ min: 1, max: 7 }).chain((n) =>
      fc.record({
        n: fc.constant(n),
        slot: fc.nat({ max: n - 1 }),
        w: fc.integer({ min: 1, max: n }),
        healthy: fc.nat({ max: 2 ** n - 1 }),
        refuse: fc.nat({ max: 2 ** n - 1 }),
        order: fc.array(fc.nat({ max: 100 }), { minLength: 10, maxLength: 10 }),
      }),
    );
    fc.assert(
      fc.property(plan, ({ n, slot, w, healthy, refuse, order }) => {
        const waiting: number[] = [];
        const ends: string[] = [];
        let confirmed = 0;
        const state = newDelivery(slot, w);
        const out: DeliveryOut = {
          send: (replica) => waiting.push(replica),
          drop: () => ends.push('drop'),
          keep: () => ends.push('keep'),
        };
        deliveryStep(state, { kind: 'start', healthy }, out);
        for (let step = 0; waiting.length > 0; step += 1) {
          const [replica = 0] = waiting.splice((order[step % order.length] ?? 0) % waiting.length, 1);
          expect(healthy & (1 << replica)).not.toBe(0);
          if ((refuse & (1 << replica)) !== 0) deliveryStep(state, { kind: 'refused', replica, code: 'BUSY' }, out);
          else {
            confirmed |= 1 << replica;
            deliveryStep(state, { kind: 'confirmed', replica }, out);
          }
          expect(step).toBeLessThan(n);
        }
        const willing = healthy & ~refuse;
        expect(ends).toEqual([(willing & (1 << slot)) !== 0 && bits(willing) >= w ? 'drop' : 'keep']);
        if (ends[0] === 'drop') expect((confirmed & (1 << slot)) !== 0 && bits(confirmed) >= w).toBe(true);
      }),
      { numRuns: 2000, seed: 11 },
    );
  });
});

describe('keys of the hint store', () => {
  const topology = { tokenSpace: tokenSpace('00112233445566aa', 16) };

  test('keep the hints of one slot of a partition together', () => {
    for (let i = 0; i < 200; i += 1) {
      const { diskKey, partition } = placeKey(topology, bucketId(3), `key-${String(i)}`);
      for (const slot of [0, 2, 6]) {
        const key = hintKey(slot, diskKey);
        expect([slotOfHint(key), diskKeyOfHint(key), slotOfDebt(key)]).toEqual([slot, diskKey, undefined]);
        const { from, to } = hintRange(topology, partition, slot);
        expect(key >= from && key < to).toBe(true);
        const other = hintRange(topology, ((partition + 1) % 16) as PartitionId, slot);
        expect(key >= other.from && key < other.to).toBe(false);
        expect(partitionOfDiskKey(topology, diskKeyOfHint(key))).toBe(partition);
      }
    }
  });

  test('tell debts from hints', () => {
    const partition = 0xfff3a as PartitionId;
    expect(slotOfDebt(debtKey(partition, 4))).toEqual({ partition, slot: 4 });
    expect(debtKey(partition, 0) > hintKey(6, '\xff'.repeat(20))).toBe(true);
  });
});

describe('the index of hints', () => {
  const at = (partition: number): PartitionId => partition as PartitionId;

  test('counts what is there, by partition and slot', () => {
    const step = fc.record({ partition: fc.nat({ max: 3 }), slot: fc.nat({ max: 2 }), bytes: fc.nat({ max: 100 }), add: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const index = new HintIndex(3, 1e9);
        const held = new Map<string, number[]>();
        for (const { partition, slot, bytes, add } of steps) {
          const name = `${String(partition)}/${String(slot)}`;
          const list = held.get(name) ?? [];
          held.set(name, list);
          if (add) {
            index.added(at(partition), slot, bytes, 1);
            list.push(bytes);
          } else {
            const gone = list.pop();
            if (gone !== undefined) index.dropped(at(partition), slot, gone);
          }
        }
        const all = [...held.values()].flat();
        expect([index.count, index.bytes]).toEqual([all.length, all.reduce((sum, bytes) => sum + bytes, 0)]);
        expect([...index.backlogs()].length).toBe([...held.values()].filter((list) => list.length > 0).length);
        expect(index.isEmpty).toBe(all.length === 0);
      }),
    );
  });

  test('knows since when hints wait, and keeps a debt until it is paid', () => {
    const index = new HintIndex(3, 100);
    index.added(at(1), 2, 60, 500);
    index.added(at(1), 2, 30, 900);
    expect(index.of(at(1), 2)).toMatchObject({ count: 2, bytes: 90, sinceMs: 500, debt: undefined });
    expect([index.admits(10), index.admits(11)]).toEqual([true, false]);
    index.owe(at(1), 2, 'why', 1000);
    index.dropped(at(1), 2, 60);
    index.dropped(at(1), 2, 30);
    expect(index.of(at(1), 2)).toMatchObject({ count: 0, debt: 'why' });
    index.paid(at(1), 2);
    expect(index.isEmpty).toBe(true);
  });
});

describe('the actor of a fallback', () => {
  test('is another one than that of the store, and ends with the first hint of its that is dropped', () => {
    const store = { storeId: storeId('0123456789abcdef'.repeat(2)), actorEpoch: 7 };
    const drawn = [7, 20, 30];
    const actor = new StandInActor(
      () => store,
      () => drawn.shift() ?? 0,
    );
    expect(actor.active).toBe(false);
    const first = actor.dot();
    expect(first.actor.charCodeAt(19)).toBe(8);
    expect(actor.dot()).toEqual({ actor: first.actor, counter: 2 });
    // Hints of others end nothing.
    actor.dropped([{ actor: 'another', counter: 9, ms: 1 }]);
    expect(actor.dot()).toEqual({ actor: first.actor, counter: 3 });
    actor.dropped([{ ...first, ms: 1 }]);
    const second = actor.dot();
    expect(second.counter).toBe(1);
    expect(second.actor.charCodeAt(19)).toBe(20);
    // Nor do those of an actor that has ended.
    actor.dropped([{ ...first, ms: 1 }]);
    expect(actor.dot().actor).toBe(second.actor);
    // What damage took may have been its own.
    actor.dropped(undefined);
    expect(actor.dot().actor.charCodeAt(19)).toBe(30);
  });
});
