/** All that an engine holds, read in both ways, and writes as promises. */

import type { ByteString } from '../../src/base/bytes.ts';
import type { Engine } from '../../src/storage/engine.ts';
import type { WriteBatch } from '../../src/storage/write-batch.ts';
import type { Content } from './history.ts';

/** Everything in the store, by iteration. */
export async function contentOf(engine: Engine): Promise<Content> {
  const content: Content = new Map();
  const iterator = engine.iterate({ batchEntries: 32 });
  let last = '';
  try {
    for (;;) {
      const entries = await iterator.next();
      if (entries.length === 0) return content;
      for (const { key, value } of entries) {
        if (key <= last) throw new Error(`the iterator went from ${JSON.stringify(last)} to ${JSON.stringify(key)}`);
        last = key;
        content.set(key, new Uint8Array(value));
      }
    }
  } finally {
    iterator.close();
  }
}

/** Everything in the store under the given keys, by `get`. */
export async function contentByKey(engine: Engine, keys: readonly ByteString[]): Promise<Content> {
  const content: Content = new Map();
  for (const key of keys) {
    const entry = await engine.get(key);
    if (entry !== undefined) content.set(key, new Uint8Array(entry.value));
  }
  return content;
}

/** Writes and waits until it is done. @throws the CoterieError that `done` got */
export function written(engine: Engine, batch: WriteBatch): Promise<void> {
  return new Promise((resolve, reject) => {
    engine.write(batch, (error) => {
      if (error === undefined) resolve();
      else reject(error);
    });
  });
}
