/** Reading through the hint store: by the page to hand hints off, or all of a range to count it. What damage has taken is told, and passed over. */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError } from '../base/errors.ts';
import { diskKeyOfHint, generationOfTag, wOfTag } from '../cluster/handoff/hint-key.ts';
import type { Engine, EngineIterator, IterateOptions } from '../storage/engine.ts';
import type { KeyedEntry } from '../storage/entry.ts';

export interface Hint {
  readonly slot: number;
  readonly diskKey: ByteString;
  readonly bytes: Uint8Array;
  /** Primaries that must confirm it. */
  readonly w: number;
  /** The oldest that anything in it was read under. */
  readonly generation: number;
}

export interface HintPage {
  readonly hints: readonly Hint[];
  /** A part of the range could not be read. */
  readonly damaged: boolean;
  /** Where to go on, in keys of the hint store; undefined at the end. */
  readonly next: ByteString | undefined;
}

/** One batch of the hints of a slot. */
export async function readHints(
  engine: Engine,
  options: IterateOptions,
  slot: number,
  damageMet: (message: string) => void,
): Promise<HintPage> {
  const iterator = engine.iterate(options);
  let damaged = false;
  try {
    for (;;) {
      const batch = await nextBatch(iterator, damageMet);
      if (batch === undefined) {
        damaged = true;
        continue;
      }
      const last = batch.at(-1);
      const hints = batch.map(({ key, value, gcTag }) => ({
        slot,
        diskKey: diskKeyOfHint(key),
        bytes: new Uint8Array(value),
        w: wOfTag(gcTag),
        generation: generationOfTag(gcTag),
      }));
      return { hints, damaged, next: last === undefined ? undefined : `${last.key}\0` };
    }
  } finally {
    iterator.close();
  }
}

/** How many keys there are in a range, and the bytes of them and their objects. */
export async function measureHints(
  engine: Engine,
  from: ByteString,
  to: ByteString,
  damageMet: (message: string) => void,
): Promise<{ readonly count: number; readonly bytes: number }> {
  let count = 0;
  let bytes = 0;
  await eachEntry(engine, { from, to }, damageMet, ({ key, value }) => {
    count += 1;
    bytes += key.length + value.length;
  });
  return { count, bytes };
}

/** Runs `use` for each entry of a range as it is now. */
export async function eachEntry(
  engine: Engine,
  range: IterateOptions,
  damageMet: (message: string) => void,
  use: (entry: KeyedEntry) => void,
): Promise<void> {
  const iterator = engine.iterate(range);
  try {
    for (;;) {
      const batch = await nextBatch(iterator, damageMet);
      if (batch === undefined) continue;
      if (batch.length === 0) return;
      for (const entry of batch) use(entry);
    }
  } finally {
    iterator.close();
  }
}

/** The next batch; undefined where damage was met: what is behind it is answered next. */
async function nextBatch(iterator: EngineIterator, damageMet: (message: string) => void): Promise<readonly KeyedEntry[] | undefined> {
  try {
    return await iterator.next();
  } catch (error) {
    const { code, message } = asCoterieError(error);
    if (code !== 'DATA_DAMAGED') throw error;
    damageMet(message);
    return undefined;
  }
}
