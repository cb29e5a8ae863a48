/** The engines under test behind one narrow face: what the workload needs, nothing more. */

import { ClassicLevel } from 'classic-level';
import { open } from 'lmdb';

import { NodeClock } from '../../src/env-node/clock.ts';
import { NodeExecutor } from '../../src/env-node/executor.ts';
import { NodeVfs } from '../../src/env-node/vfs.ts';
import { Engine, Pending } from '../../src/storage/engine.ts';
import { WriteBatch } from '../../src/storage/write-batch.ts';

/** Both log-structured engines get the same memory, which is what a node gives its store by default. lmdb leaves it to the system. */
const CACHE_BYTES = 64 * 1024 * 1024;
const WRITE_BUFFER_BYTES = 32 * 1024 * 1024;

export interface Contestant {
  /** Stores the pairs as one batch, without waiting for the disk. */
  putBatch(pairs: readonly (readonly [key: string, value: Buffer])[]): Promise<void>;
  /** One pair, durable when the promise settles. */
  putDurable(key: string, value: Buffer): Promise<void>;
  /** Present or not; a read that needs the disk may take a promise. */
  read(key: string): boolean | Promise<boolean>;
  /** Everything flushed and fully compacted. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

async function ours(directory: string): Promise<Contestant> {
  const executor = new NodeExecutor();
  const open = (fsync: 'always' | 'interval'): Promise<Engine> =>
    Engine.open({
      directory,
      vfs: new NodeVfs(),
      executor,
      clock: new NodeClock(),
      fsync: fsync === 'always' ? { kind: 'always' } : { kind: 'interval', everyMs: 1000 },
      cacheBytes: CACHE_BYTES,
      memtableBytes: WRITE_BUFFER_BYTES,
    });
  let engine = await open('interval');
  let durable = false;
  const put = (batch: WriteBatch): Promise<void> =>
    new Promise((resolve, reject) => {
      engine.write(batch, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  const settle = async (key: string, pending: Pending): Promise<boolean> => {
    for (let found: unknown = pending; ;) {
      if (!(found instanceof Pending)) return found !== undefined;
      await engine.load(found);
      found = engine.tryGet(key);
    }
  };
  return {
    putBatch: (pairs) => {
      const batch = new WriteBatch();
      for (const [key, value] of pairs) batch.put(key, value);
      return put(batch);
    },
    putDurable: async (key, value) => {
      if (!durable) throw new Error('drain first: it opens the durable engine');
      return put(new WriteBatch().put(key, value));
    },
    read: (key) => {
      const found = engine.tryGet(key);
      return found instanceof Pending ? settle(key, found) : found !== undefined;
    },
    drain: async () => {
      await engine.flush();
      await engine.compact();
      await engine.close();
      engine = await open('always');
      durable = true;
    },
    close: async () => {
      await engine.close();
      await executor.close();
    },
  };
}

async function classicLevel(directory: string): Promise<Contestant> {
  const level = new ClassicLevel<string, Buffer>(directory, {
    valueEncoding: 'buffer',
    cacheSize: CACHE_BYTES,
    writeBufferSize: WRITE_BUFFER_BYTES,
  });
  await level.open();
  return {
    putBatch: (pairs) => level.batch(pairs.map(([key, value]) => ({ type: 'put' as const, key, value }))),
    putDurable: (key, value) => level.put(key, value, { sync: true }),
    read: (key) => level.getSync(key) !== undefined,
    drain: async () => {
      await level.compactRange('', '\u{10ffff}');
    },
    close: () => level.close(),
  };
}

async function lmdb(directory: string): Promise<Contestant> {
  const fast = open<Buffer, string>({ path: `${directory}/data.mdb`, encoding: 'binary', noSync: true });
  let durable = fast;
  return {
    putBatch: (pairs) =>
      fast
        .batch(() => {
          for (const [key, value] of pairs) void fast.put(key, value);
        })
        .then(() => undefined),
    putDurable: async (key, value) => {
      await durable.put(key, value);
      await durable.flushed;
    },
    read: (key) => fast.get(key) !== undefined,
    drain: async () => {
      await fast.flushed;
      durable = open<Buffer, string>({ path: `${directory}/durable.mdb`, encoding: 'binary' });
    },
    close: async () => {
      await durable.close();
      await fast.close();
    },
  };
}

export const CONTESTANTS: Readonly<Record<string, (directory: string) => Promise<Contestant>>> = {
  ours,
  'classic-level': classicLevel,
  lmdb,
};
