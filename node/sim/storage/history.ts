/**
 * A seeded history of writes, and the dumb map that says what a store holds after any prefix of it.
 *
 * Every batch also writes its own number under `MARK`, so that a store found after a crash says itself which prefix it claims to hold.
 */

import { fromByteString } from '../../src/base/bytes.ts';
import type { ByteString } from '../../src/base/bytes.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';
import type { SeededRandom } from '../disk/seeded-random.ts';

/** The key under which each batch leaves its number; it sorts after all others and no range drop touches it. */
export const MARK: ByteString = '~mark';

export interface Put {
  readonly key: ByteString;
  /** `undefined`: the key is removed. */
  readonly value: Uint8Array | undefined;
}

export interface Batch {
  readonly kind: 'batch';
  /** 1 for the first one. */
  readonly number: number;
  readonly puts: readonly Put[];
}

export interface Drop {
  readonly kind: 'drop';
  readonly from: ByteString;
  readonly to: ByteString;
}

export type Step = Batch | Drop | { readonly kind: 'flush' | 'compact' | 'settle' };

export interface HistoryShape {
  readonly batches: number;
  readonly keys: number;
  /** Values have 0 to this many bytes, mostly few. */
  readonly valueBytes: number;
  /** One step in so many is a drop, a flush or a compaction; 0: none. */
  readonly dropOneIn: number;
  readonly flushOneIn: number;
  readonly compactOneIn: number;
}

export type Content = Map<ByteString, Uint8Array>;

/** Keys of several lengths, with the bytes 0x00 and 0xff among them, sharing prefixes or not. */
export function keyOf(index: number): ByteString {
  const digits = String(index).padStart(4, '0');
  switch (index % 4) {
    case 0:
      return `k${digits}`;
    case 1:
      return `k${digits}\u0000\u00ff${'p'.repeat(index % 23)}`;
    case 2:
      return `\u0000${digits}`;
    default:
      return `m\u00ff${digits.slice(0, 3)}\u0000${digits}`;
  }
}

/** Bytes that compress (a short pattern repeated) or do not (random), and always say whose they are. */
export function valueFrom(random: SeededRandom, most: number): Uint8Array {
  const length = random.oneIn(8) ? random.below(most + 1) : random.below(Math.min(most, 80) + 1);
  if (random.oneIn(2)) return random.bytes(length);
  const pattern = random.bytes(1 + random.below(9));
  const value = new Uint8Array(length);
  for (let at = 0; at < length; at += 1) value[at] = pattern[at % pattern.length] ?? 0;
  return value;
}

export function makeHistory(random: SeededRandom, shape: HistoryShape): Step[] {
  const steps: Step[] = [];
  for (let number = 1; number <= shape.batches; number += 1) {
    const puts: Put[] = [];
    for (let left = 1 + random.below(random.oneIn(6) ? 20 : 4); left > 0; left -= 1) {
      const key = keyOf(random.below(shape.keys));
      puts.push({ key, value: random.oneIn(5) ? undefined : valueFrom(random, shape.valueBytes) });
    }
    puts.push({ key: MARK, value: fromByteString(String(number)) });
    steps.push({ kind: 'batch', number, puts });
    if (shape.dropOneIn > 0 && random.oneIn(shape.dropOneIn)) {
      const [a, b] = [keyOf(random.below(shape.keys)), keyOf(random.below(shape.keys))];
      if (a !== b) steps.push({ kind: 'drop', from: a < b ? a : b, to: a < b ? b : a });
    }
    if (shape.flushOneIn > 0 && random.oneIn(shape.flushOneIn)) steps.push({ kind: 'flush' });
    if (shape.compactOneIn > 0 && random.oneIn(shape.compactOneIn)) steps.push({ kind: 'compact' });
    if (random.oneIn(3)) steps.push({ kind: 'settle' });
  }
  steps.push({ kind: 'settle' });
  return steps;
}

export function writeBatchOf(batch: Batch): WriteBatch {
  const write = new WriteBatch();
  for (const { key, value } of batch.puts) {
    if (value === undefined) write.delete(key);
    else write.put(key, value);
  }
  return write;
}

/** Applies a batch or a drop to a dumb map. */
export function applyStep(content: Content, step: Step): void {
  if (step.kind === 'batch') {
    for (const { key, value } of step.puts) {
      if (value === undefined) content.delete(key);
      else content.set(key, value);
    }
  } else if (step.kind === 'drop') {
    for (const key of content.keys()) if (key >= step.from && key < step.to) content.delete(key);
  }
}

/** What a store holds that took every batch up to `number`, and of the drops those in `drops` (those past that batch too: they are no batch). */
export function contentAfter(steps: readonly Step[], number: number, drops: ReadonlySet<Drop>): Content {
  const content: Content = new Map();
  for (const step of steps) {
    if (step.kind === 'batch' ? step.number <= number : step.kind === 'drop' && drops.has(step)) applyStep(content, step);
  }
  return content;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/** The first difference between two contents in words; `undefined` where they are equal. */
export function difference(expected: Content, found: Content): string | undefined {
  for (const [key, value] of expected) {
    const other = found.get(key);
    if (other === undefined) return `${JSON.stringify(key)} is missing`;
    if (!sameBytes(value, other)) {
      return `${JSON.stringify(key)} has another value (${String(other.length)} bytes for ${String(value.length)})`;
    }
  }
  for (const key of found.keys()) if (!expected.has(key)) return `${JSON.stringify(key)} should not be there`;
  return undefined;
}
