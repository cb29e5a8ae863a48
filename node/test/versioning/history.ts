/**
 * Random histories of one key: stores that write, merge, reboot, are wiped and restored, clients with contexts and retried operations; each
 * step done on versioned objects and on the causal model alike.
 */

import fc from 'fast-check';
import { storeId } from '../../src/base/ids.ts';
import type { Context } from '../../src/cluster/versioning/context.ts';
import { contextOf } from '../../src/cluster/versioning/context.ts';
import type { HybridTime } from '../../src/cluster/versioning/hlc.ts';
import { Hlc } from '../../src/cluster/versioning/hlc.ts';
import { merge } from '../../src/cluster/versioning/merge.ts';
import { newestTime } from '../../src/cluster/versioning/newest.ts';
import type { KvObject } from '../../src/cluster/versioning/object.ts';
import { actorOf, emptyObject } from '../../src/cluster/versioning/object.ts';
import { present } from '../../src/cluster/versioning/present.ts';
import { truncateClock } from '../../src/cluster/versioning/truncate.ts';
import type { Mutation } from '../../src/cluster/versioning/update.ts';
import { applyWrite } from '../../src/cluster/versioning/update.ts';
import type { Moment, Shown } from './causal-model.ts';
import { CausalModel } from './causal-model.ts';

export const STORES = 3;
const CLIENTS = 3;
const SAVES = 4;
const START = 1_700_000_000_000;

export type Step =
  | {
      readonly kind: 'write';
      readonly store: number;
      readonly client: number | undefined;
      readonly body: 'put' | 'delete' | 'expire';
      readonly operation: number | undefined;
      /** Relative; undefined for never. */
      readonly ttlMs: number | undefined;
      readonly keepTtl: boolean;
    }
  | { readonly kind: 'read'; readonly store: number; readonly client: number }
  | { readonly kind: 'deliver'; readonly from: number; readonly to: number }
  | { readonly kind: 'save'; readonly store: number; readonly slot: number }
  | { readonly kind: 'load'; readonly store: number; readonly slot: number }
  | { readonly kind: 'reboot'; readonly store: number }
  | { readonly kind: 'wipe'; readonly store: number }
  | { readonly kind: 'converge' }
  | { readonly kind: 'truncate'; readonly store: number; readonly keep: number }
  | { readonly kind: 'pass'; readonly ms: number };

const store = fc.nat(STORES - 1);
const client = fc.nat(CLIENTS - 1);
const slot = fc.nat(SAVES - 1);

const write = fc.record({
  kind: fc.constant('write' as const),
  store,
  client: fc.option(client, { nil: undefined }),
  body: fc.constantFrom('put' as const, 'put' as const, 'put' as const, 'delete' as const, 'expire' as const),
  operation: fc.option(fc.nat(3), { nil: undefined, freq: 2 }),
  ttlMs: fc.option(fc.integer({ min: -5, max: 60 }), { nil: undefined, freq: 2 }),
  keepTtl: fc.boolean(),
});

export const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: write },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('read' as const), store, client }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('deliver' as const), from: store, to: store }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('save' as const), store, slot }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('load' as const), store, slot }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('reboot' as const), store }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('wipe' as const), store }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('converge' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('truncate' as const), store, keep: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 30 }) }) },
);

interface Copy {
  readonly object: KvObject;
  /** The events seen, also through clients' contexts. */
  readonly known: ReadonlySet<number>;
  /** The events that came with their objects. */
  readonly held: ReadonlySet<number>;
}

interface Store {
  copy: Copy;
  epoch: number;
  counter: number;
  readonly skewMs: number;
  readonly hlc: Hlc;
}

interface Attempt {
  readonly mutation: Mutation;
  readonly seen: ReadonlySet<number> | undefined;
  readonly label: string;
}

function moment(time: HybridTime): Moment {
  return [time.ms, time.logical];
}

function union(a: ReadonlySet<number>, b: ReadonlySet<number>): ReadonlySet<number> {
  return new Set([...a, ...b]);
}

function isWithin(part: ReadonlySet<number>, whole: ReadonlySet<number>): boolean {
  return [...part].every((id) => whole.has(id));
}

function mergeCopies(a: Copy, b: Copy): Copy {
  return { object: merge(a.object, b.object), known: union(a.known, b.known), held: union(a.held, b.held) };
}

export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

export function textOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** A history under way. `check` steps throw when object and model disagree. */
export class History {
  readonly model = new CausalModel();
  readonly stores: Store[] = [];
  readonly #saves = new Map<number, Copy>();
  readonly #clients: ({ context: Context; seen: ReadonlySet<number> } | undefined)[] = [];
  readonly #operations = new Map<number, Attempt>();
  readonly counts = { applied: 0, repeated: 0, unchanged: 0, truncated: 0, siblings: 0, hidden: 0, edits: 0, expired: 0 };
  #recorded = 0;
  wallMs = START;

  constructor() {
    for (let i = 0; i < STORES; i += 1) {
      this.stores.push({
        copy: { object: emptyObject(), known: new Set(), held: new Set() },
        epoch: 1,
        counter: 0,
        skewMs: (i - 1) * 40,
        hlc: new Hlc(),
      });
    }
  }

  run(steps: readonly Step[]): this {
    for (const step of steps) {
      this.#step(step);
      this.wallMs += 1;
    }
    return this;
  }

  #store(index: number): Store {
    const found = this.stores[index];
    if (found === undefined) throw new Error(`no store ${String(index)}`);
    return found;
  }

  #receive(into: Store, copy: Copy): void {
    into.hlc.observe(newestTime(copy.object), this.wallMs + into.skewMs);
    into.copy = mergeCopies(into.copy, copy);
  }

  #step(step: Step): void {
    switch (step.kind) {
      case 'write':
        this.#write(step);
        return;
      case 'read': {
        const { object, known } = this.#store(step.store).copy;
        this.#clients[step.client] = { context: contextOf(object), seen: known };
        return;
      }
      case 'deliver':
        this.#receive(this.#store(step.to), this.#store(step.from).copy);
        return;
      case 'save':
        this.#saves.set(step.slot, this.#store(step.store).copy);
        return;
      case 'load': {
        const saved = this.#saves.get(step.slot);
        if (saved !== undefined) this.#receive(this.#store(step.store), saved);
        return;
      }
      case 'reboot':
        this.#store(step.store).epoch += 1;
        return;
      case 'wipe': {
        const wiped = this.#store(step.store);
        wiped.epoch += 1;
        wiped.counter = 0;
        wiped.copy = { object: emptyObject(), known: new Set(), held: new Set() };
        return;
      }
      case 'converge':
        this.converge();
        return;
      case 'truncate':
        this.#truncate(step.store, step.keep);
        return;
      case 'pass':
        this.wallMs += step.ms;
        return;
    }
  }

  converge(): void {
    for (const to of this.stores) for (const from of this.stores) this.#receive(to, from.copy);
    for (const to of this.stores) for (const from of this.stores) this.#receive(to, from.copy);
  }

  #truncate(index: number, keep: number): void {
    const target = this.#store(index);
    const { known, held } = target.copy;
    const confirmed = this.stores.every((other) => isWithin(other.copy.known, known) && isWithin(known, other.copy.known));
    const nothingElsewhere = this.#saves.values().every((saved) => isWithin(saved.known, known));
    if (!confirmed || !nothingElsewhere || target.copy.object.siblings.length === 0) return;
    const object = truncateClock(target.copy.object, keep, this.wallMs);
    if (object !== target.copy.object) this.counts.truncated += 1;
    target.copy = { object, known, held };
  }

  #attempt(step: Extract<Step, { kind: 'write' }>): Attempt {
    const reader = step.client === undefined ? undefined : this.#clients[step.client];
    const label = step.operation === undefined ? `event ${String(this.model.events.length)}` : `operation ${String(step.operation)}`;
    const expireAtMs = step.ttlMs === undefined ? 0 : this.wallMs + step.ttlMs;
    const operation =
      step.operation === undefined
        ? undefined
        : { id: String.fromCharCode(step.operation).repeat(16), bodyHash: String.fromCharCode(1 + step.operation).repeat(8) };
    const shared = { context: reader?.context, operation };
    const mutation: Mutation =
      step.body === 'put'
        ? { kind: 'put', value: bytesOf(label), expireAtMs, keepTtl: step.keepTtl && step.ttlMs === undefined, ...shared }
        : step.body === 'delete'
          ? { kind: 'delete', ...shared }
          : { kind: 'expire', atMs: expireAtMs, ...shared };
    return { mutation, seen: reader?.seen, label };
  }

  #write(step: Extract<Step, { kind: 'write' }>): void {
    const target = this.#store(step.store);
    const nowMs = this.wallMs + target.skewMs;
    const earlier = step.operation === undefined ? undefined : this.#operations.get(step.operation);
    const attempt = earlier ?? this.#attempt(step);
    const name = attempt.mutation.operation === undefined ? undefined : attempt.label;
    if (name !== undefined && this.#recorded >= 16) return;
    const { object, known, held } = target.copy;
    const actor = actorOf(storeId(String(step.store).padStart(32, '0')), target.epoch);
    const dot = { actor, counter: target.counter + 1 };
    const result = applyWrite(object, attempt.mutation, { dot: () => dot, time: target.hlc.now(nowMs), nowMs });
    const repeats = name !== undefined && this.model.events.some((event) => event.operation === name && held.has(event.id));
    if ((result.kind === 'repeated') !== repeats) {
      throw new Error(`${result.kind}, but the model ${repeats ? 'knows' : 'does not know'} it`);
    }
    if (result.kind === 'refused') throw new Error(`refused: ${result.message}`);
    this.counts[result.kind] += 1;
    if (result.kind === 'repeated') return;
    const shown = this.model.shown(known, held, nowMs);
    if (attempt.mutation.kind !== 'expire' && result.existed !== shown.length > 0) throw new Error('existed differs from the model');
    if (result.kind === 'unchanged') return;
    target.counter += 1;
    if (step.operation !== undefined) this.#operations.set(step.operation, attempt);
    if (name !== undefined) this.#recorded += 1;
    this.#record(target, attempt, dot, result.object, nowMs, shown);
  }

  #record(
    target: Store,
    attempt: Attempt,
    dot: { actor: string; counter: number },
    object: KvObject,
    nowMs: number,
    shown: readonly Shown[],
  ): void {
    const { mutation, seen } = attempt;
    const { known, held } = target.copy;
    const outdone: ReadonlySet<number> = new Set([...held].filter((id) => mutation.kind !== 'expire' && seen?.has(id) === true));
    const hidden = new Set(this.model.hidden(known, held, outdone).map((event) => event.id));
    const isTarget = (id: number): boolean => !hidden.has(id) && (seen === undefined || seen.has(id));
    const targets = new Set<number>();
    if (mutation.kind === 'expire') {
      for (const event of this.model.live(known)) {
        const expiry = this.model.expiryOf(event, known);
        if (isTarget(event.id) && (expiry === 0 || expiry > nowMs)) targets.add(event.id);
      }
    }
    this.counts.edits += targets.size;
    const mine = object.siblings.find((sibling) => sibling.actor === dot.actor && sibling.counter === dot.counter);
    const edited = object.siblings.reduce<Moment>(
      (last, { edit }) => (edit.ms > last[0] || (edit.ms === last[0] && edit.logical > last[1]) ? moment(edit) : last),
      [0, 0],
    );
    const at: Moment =
      mutation.kind === 'put'
        ? moment(mine?.time ?? { ms: 0, logical: 0 })
        : mutation.kind === 'expire'
          ? edited
          : mutation.context === undefined
            ? moment(object.blindFloor?.time ?? { ms: 0, logical: 0 })
            : [0, 0];
    const expireAtMs =
      mutation.kind === 'put'
        ? mutation.keepTtl
          ? (shown[0]?.expireAtMs ?? 0)
          : mutation.expireAtMs
        : mutation.kind === 'expire'
          ? mutation.atMs
          : 0;
    const id = this.model.add({
      kind: mutation.kind,
      blind: mutation.context === undefined,
      label: attempt.label,
      at,
      tie: `${String(dot.counter).padStart(16, '0')} ${dot.actor}`,
      expireAtMs,
      replaced: mutation.kind === 'expire' ? hidden : seen === undefined ? known : union(seen, hidden),
      outdone,
      targets,
      operation: mutation.operation === undefined ? undefined : attempt.label,
    });
    const learnt = mutation.kind === 'expire' ? known : union(known, seen ?? new Set());
    target.copy = { object, known: new Set([...learnt, id]), held: new Set([...held, id]) };
  }

  #copies(): Copy[] {
    return [...this.stores.map((each) => each.copy), ...this.#saves.values()];
  }

  /** Throws where a copy shows something else than the model. */
  check(): void {
    for (const copy of this.#copies()) {
      const expected = this.model.shown(copy.known, copy.held, this.wallMs);
      const actual = present(copy.object, this.wallMs).map(({ value, expireAtMs }) => ({ label: textOf(value), expireAtMs }));
      if (JSON.stringify(actual) !== JSON.stringify(expected)) {
        throw new Error(`shows ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
      }
      if (expected.length > 1) this.counts.siblings += 1;
      if (expected.length < copy.object.siblings.length) this.counts.expired += 1;
      if (this.model.hidden(copy.known, copy.held).length > 0) this.counts.hidden += 1;
    }
  }

  /** Every object that the history has reached and still holds. */
  objects(): KvObject[] {
    return this.#copies().map((copy) => copy.object);
  }
}
