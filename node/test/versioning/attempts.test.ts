/** Blind writes that two coordinators made, because neither knew of the other (cluster/versioning/attempt.ts). */

import { crc32 } from 'node:zlib';

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { AttemptIds, MAX_ATTEMPTS, operationOfAttempt } from '../../src/cluster/versioning/attempt.ts';
import { decodeObject, encodeObject } from '../../src/cluster/versioning/codec.ts';
import { type Context, contextOf } from '../../src/cluster/versioning/context.ts';
import { absorbs, compare, merge } from '../../src/cluster/versioning/merge.ts';
import { emptyObject, type KvObject } from '../../src/cluster/versioning/object.ts';
import { rememberedUntilMs } from '../../src/cluster/versioning/operation-window.ts';
import { present } from '../../src/cluster/versioning/present.ts';
import { reconcileEncoded } from '../../src/cluster/versioning/reconcile.ts';
import { applyWrite, type Mutation } from '../../src/cluster/versioning/update.ts';

const STORES = 3;
const START_MS = 1_700_000_000_000;

type Step =
  | { readonly kind: 'blind'; readonly store: number; readonly second: number | undefined; readonly removes: boolean }
  | { readonly kind: 'over'; readonly store: number; readonly reader: number }
  | { readonly kind: 'read'; readonly store: number; readonly reader: number }
  | { readonly kind: 'deliver'; readonly from: number; readonly to: number };

const store = fc.nat(STORES - 1);
const reader = fc.nat(1);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('blind' as const), store, second: fc.option(store, { nil: undefined }), removes: fc.boolean() }),
  fc.record({ kind: fc.constant('over' as const), store, reader }),
  fc.record({ kind: fc.constant('read' as const), store, reader }),
  fc.record({ kind: fc.constant('deliver' as const), from: store, to: store }),
);

/** Three stores of one key, whose clocks differ, and what they did. */
class History {
  readonly stores: KvObject[] = Array.from({ length: STORES }, () => emptyObject());
  readonly reached: KvObject[] = [emptyObject()];
  /** Values of named writes that a context had seen in one of their dots. */
  readonly replaced = new Set<number>();
  readonly #contexts: (Context | undefined)[] = [];
  readonly #dots: { readonly actor: string; readonly counter: number; readonly value: number }[] = [];
  #ticks = 0;
  #blindWrites = 0;
  readonly #most: number;

  /** @param most blind writes: more push each other's records out */
  constructor(most: number) {
    this.#most = most;
  }

  run({ ...step }: Step): void {
    this.#ticks += 1;
    switch (step.kind) {
      case 'blind': {
        if (this.#blindWrites === this.#most) return;
        this.#blindWrites += 1;
        const mutation: Mutation = step.removes ? { kind: 'delete' } : put(this.#ticks);
        const named = { ...mutation, operation: operationOfAttempt(this.#ticks) };
        const value = this.#ticks;
        this.#write(step.store, named, value);
        if (step.second !== undefined && step.second !== step.store) this.#write(step.second, named, value);
        break;
      }
      case 'over': {
        const context = this.#contexts[step.reader];
        if (context === undefined) return;
        const { clock } = this.#at(step.store);
        for (const { actor, counter, value } of this.#dots) {
          // Of what it knows from the context alone a coordinator does not know the name.
          if (!clock.some((entry) => entry.actor === actor && entry.counter >= counter)) continue;
          if (context.clock.some((entry) => entry.actor === actor && entry.counter >= counter)) this.replaced.add(value);
        }
        this.#write(step.store, { ...put(this.#ticks), context }, undefined);
        break;
      }
      case 'read':
        this.#contexts[step.reader] = contextOf(this.#at(step.store));
        return;
      case 'deliver':
        this.#keep(step.to, merge(this.#at(step.to), this.#at(step.from)));
    }
  }

  #at(store: number): KvObject {
    return this.stores[store] ?? emptyObject();
  }

  #keep(store: number, object: KvObject): void {
    this.stores[store] = object;
    this.reached.push(object);
  }

  #write(store: number, mutation: Mutation, value: number | undefined): void {
    const dot = { actor: String(store).repeat(20), counter: this.#ticks };
    // One store's clock is ahead of the others'.
    const time = { ms: START_MS + this.#ticks + 10 * store, logical: 0 };
    const applied = applyWrite(this.#at(store), mutation, { dot: () => dot, time, nowMs: time.ms });
    if (applied.kind === 'repeated') return;
    if (applied.kind !== 'applied') throw new Error(applied.kind);
    if (value !== undefined) this.#dots.push({ ...dot, value });
    this.#keep(store, applied.object);
  }
}

function put(value: number): Extract<Mutation, { readonly kind: 'put' }> {
  return { kind: 'put', value: new Uint8Array([value]), expireAtMs: 0, keepTtl: false };
}

const shown = (object: KvObject): number[] => present(object, START_MS + 1_000_000).map(({ value }) => value[0] ?? 0);

describe('records of attempts', () => {
  const histories = (most: number): fc.Arbitrary<History> =>
    fc.array(step, { minLength: 1, maxLength: 40 }).map((steps) => {
      const history = new History(most);
      for (const each of steps) history.run(each);
      return history;
    });

  test('merge as all else does, come back from their encoding, and are few', () => {
    let most = 0;
    fc.assert(
      fc.property(histories(Infinity), fc.nat(), fc.nat(), fc.nat(), ({ reached }, i, j, k) => {
        const [a, b, c] = [i, j, k].map((at) => reached[at % reached.length] ?? emptyObject()) as [KvObject, KvObject, KvObject];
        const ab = merge(a, b);
        expect(merge(b, a)).toEqual(ab);
        expect(merge(ab, a)).toEqual(ab);
        expect(merge(ab, c)).toEqual(merge(a, merge(b, c)));
        expect(absorbs(ab, a) && absorbs(ab, b)).toBe(true);
        expect(decodeObject(encodeObject(ab, crc32), crc32)).toEqual(ab);
        expect(ab.operations.length).toBeLessThanOrEqual(MAX_ATTEMPTS);
        most = Math.max(most, ab.operations.length);
        // A replica that has missed blind writes takes the next as it comes.
        if (compare(b, a) === 'dominates' && a.operations.every((record) => b.operations.includes(record))) {
          const bytes = encodeObject(b, crc32);
          expect(reconcileEncoded(encodeObject(a, crc32), bytes, crc32)).toMatchObject({ kind: 'store', bytes });
        }
      }),
      { seed: 11, numRuns: 3000 },
    );
    expect(most).toBe(MAX_ATTEMPTS);
  });

  test('keep what a context had seen from coming back in its other dot', () => {
    let twice = 0;
    fc.assert(
      fc.property(histories(MAX_ATTEMPTS / 2), ({ stores, replaced }) => {
        const all = stores.reduce(merge, emptyObject());
        twice += replaced.size;
        expect(shown(all).filter((value) => replaced.has(value))).toEqual([]);
      }),
      { seed: 12, numRuns: 3000 },
    );
    expect(twice).toBeGreaterThan(150);
  });

  test('hold a deleted key for seconds only, a client’s for minutes', () => {
    const stamp = { dot: () => ({ actor: 'a'.repeat(20), counter: 1 }), time: { ms: START_MS, logical: 0 }, nowMs: START_MS };
    const until = (id: string, bodyHash: string): number => {
      const applied = applyWrite(emptyObject(), { kind: 'delete', operation: { id, bodyHash } }, stamp);
      if (applied.kind !== 'applied') throw new Error(applied.kind);
      return rememberedUntilMs(encodeObject(applied.object, crc32)) - START_MS;
    };
    const { id, bodyHash } = operationOfAttempt(new AttemptIds(0xffff_ffff, 0xffff_ffff).next());
    expect(id.length).toBe(16);
    expect(until(id, bodyHash)).toBe(2000);
    expect(until(id, 'bodyhash')).toBe(600_000);
  });

  test('have names that no other has', () => {
    const ids = new AttemptIds(0xffff_ffff, 0xffff_ffff);
    const names = Array.from({ length: 1000 }, () => operationOfAttempt(ids.next()).id);
    expect(new Set(names).size).toBe(names.length);
  });
});
