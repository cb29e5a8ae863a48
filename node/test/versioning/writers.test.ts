/** Many writers of one key at once. */

import { describe, expect, test } from '@jest/globals';
import { storeId } from '../../src/base/ids.ts';
import type { Context } from '../../src/cluster/versioning/context.ts';
import { contextOf } from '../../src/cluster/versioning/context.ts';
import { Hlc } from '../../src/cluster/versioning/hlc.ts';
import { compare, merge } from '../../src/cluster/versioning/merge.ts';
import type { KvObject } from '../../src/cluster/versioning/object.ts';
import { actorOf, emptyObject } from '../../src/cluster/versioning/object.ts';
import { present } from '../../src/cluster/versioning/present.ts';
import { applyWrite } from '../../src/cluster/versioning/update.ts';
import { CausalModel } from './causal-model.ts';
import { bytesOf, textOf } from './history.ts';

const NOW = 1_700_000_000_000;

/** xorshift32: a seeded stream of numbers below `bound`. */
function numbers(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}

class Coordinator {
  object: KvObject = emptyObject();
  readonly #actor: string;
  readonly #hlc = new Hlc();
  readonly #skewMs: number;
  #counter = 0;

  constructor(index: number, skewMs: number) {
    this.#actor = actorOf(storeId(index.toString(16).padStart(32, '0')), 1);
    this.#skewMs = skewMs;
  }

  get dot(): string {
    return `${String(this.#counter).padStart(16, '0')} ${this.#actor}`;
  }

  put(text: string, wallMs: number, context?: Context): void {
    const nowMs = wallMs + this.#skewMs;
    const result = applyWrite(
      this.object,
      { kind: 'put', value: bytesOf(text), expireAtMs: 0, keepTtl: false, context },
      { dot: () => ({ actor: this.#actor, counter: (this.#counter += 1) }), time: this.#hlc.now(nowMs), nowMs },
    );
    if (result.kind !== 'applied') throw new Error(result.kind);
    this.object = result.object;
  }
}

describe.each([1, 3])('10,000 concurrent blind writers through %i coordinators', (coordinators) => {
  test('end with one value: the newest by hybrid time', () => {
    const random = numbers(7);
    const all = Array.from({ length: coordinators }, (_, index) => new Coordinator(index, 100 * index));
    for (let writer = 0; writer < 10_000; writer += 1) {
      all[random(coordinators)]?.put(`writer ${String(writer)}`, NOW + random(300));
      // A few replications in between, in any direction.
      const to = all[random(coordinators)];
      const from = all[random(coordinators)];
      if (to !== undefined && from !== undefined && random(20) === 0) to.object = merge(to.object, from.object);
      for (const each of all) if (each.object.siblings.length > 1) throw new Error('siblings without contexts');
    }
    const newest = all.flatMap((each) => each.object.siblings).sort((a, b) => b.time.ms - a.time.ms || b.time.logical - a.time.logical)[0];
    const orders = [all, [...all].reverse()].map((each) => each.reduce((into, { object }) => merge(into, object), emptyObject()));
    for (const merged of orders) {
      expect(present(merged, NOW)).toHaveLength(1);
      expect(textOf(present(merged, NOW)[0]?.value ?? new Uint8Array())).toBe(textOf(newest?.value ?? new Uint8Array()));
    }
  });
});

describe.each([1, 3])('1,000 context writers through %i coordinators', (coordinators) => {
  test('leave exactly the siblings that their concurrency explains', () => {
    const random = numbers(11);
    const model = new CausalModel();
    const known = Array.from({ length: coordinators }, () => new Set<number>());
    const all = Array.from({ length: coordinators }, (_, index) => new Coordinator(index, 0));
    const readers = Array.from({ length: 12 }, (): { context: Context; seen: ReadonlySet<number> } => ({
      context: contextOf(emptyObject()),
      seen: new Set(),
    }));
    let most = 0;
    const check = (object: KvObject, events: ReadonlySet<number>): void => {
      const shown = present(object, NOW).map(({ value }) => textOf(value));
      most = Math.max(most, shown.length);
      expect(shown.sort()).toEqual(
        model
          .live(events)
          .map((event) => event.label)
          .sort(),
      );
    };
    for (let writer = 0; writer < 1000; writer += 1) {
      const at = random(coordinators);
      const coordinator = all[at];
      const seenHere = known[at];
      const reader = random(readers.length);
      const held = readers[reader];
      if (coordinator === undefined || seenHere === undefined || held === undefined) throw new Error('out of range');
      // Some read just before they write, others write with what they read long ago.
      const { context, seen } = random(3) === 0 ? { context: contextOf(coordinator.object), seen: new Set(seenHere) } : held;
      const label = `writer ${String(writer)}`;
      coordinator.put(label, NOW + writer, context);
      const time = coordinator.object.siblings.find((sibling) => textOf(sibling.value) === label)?.time ?? { ms: 0, logical: 0 };
      const id = model.add({
        kind: 'put',
        blind: false,
        label,
        at: [time.ms, time.logical],
        tie: coordinator.dot,
        expireAtMs: 0,
        replaced: seen,
        outdone: new Set(),
        targets: new Set(),
        operation: undefined,
      });
      for (const each of seen) seenHere.add(each);
      seenHere.add(id);
      const other = random(coordinators);
      const replica = all[other];
      if (replica !== undefined && random(4) === 0) {
        replica.object = merge(replica.object, coordinator.object);
        for (const each of seenHere) known[other]?.add(each);
      }
      if (random(3) === 0) readers[reader] = { context: contextOf(coordinator.object), seen: new Set(seenHere) };
      if (writer % 10 === 0) check(coordinator.object, seenHere);
    }
    const merged = all.reduce((into, { object }) => merge(into, object), emptyObject());
    check(merged, new Set(known.flatMap((each) => [...each])));
    expect(most).toBeGreaterThan(5);
    // One reader of everything resolves it all.
    const last = all[0];
    if (last === undefined) throw new Error('out of range');
    last.put('resolved', NOW + 2000, contextOf(merged));
    const resolved = merge(merged, last.object);
    expect(present(resolved, NOW).map(({ value }) => textOf(value))).toEqual(['resolved']);
    expect(compare(resolved, last.object)).toBe('equal');
  });
});
