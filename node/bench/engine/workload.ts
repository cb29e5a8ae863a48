/**
 * One engine through the whole workload, in a process of its own so that its peak memory is its own: `workload.ts CONTESTANT KEYS VALUE_BYTES
 * [DIRECTORY]`. The last line is JSON: rates in operations a second, sizes in bytes.
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { CONTESTANTS } from './contestants.ts';

export interface WorkloadResult {
  /** Random fill in batches of 100, counted until all is drained by a full compaction. */
  readonly fill: number;
  readonly durable: number;
  readonly hit: number;
  readonly miss: number;
  readonly diskBytes: number;
  readonly peakBytes: number;
}

const BATCH = 100;
const IN_FLIGHT = 64;

/** A small fast generator (xorshift32): the same sequence for each contestant. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Values that compress to about half: random bytes, then a repeated text. */
function values(bytes: number, random: () => number): Buffer[] {
  return Array.from({ length: 512 }, () => {
    const value = Buffer.alloc(bytes, 'the quick brown fox jumps over the lazy dog; ');
    for (let i = 0; i < bytes / 2; i += 1) value[i] = random() & 255;
    return value;
  });
}

function bytesBelow(directory: string): number {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).blocks * 512, 0);
}

function peakBytes(): number {
  const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(line?.[1] ?? 0) * 1024;
}

async function rate(count: number, work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (count * 1000) / (performance.now() - start);
}

/** Runs `work` in the directory, or in one that is made for it and removed. */
async function within<T>(directory: string | undefined, work: (directory: string) => Promise<T>): Promise<T> {
  if (directory !== undefined) return work(directory);
  const own = mkdtempSync(join(tmpdir(), 'coterie-bench-'));
  try {
    return await work(own);
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

async function main(directory: string, name: string, keys: number, valueBytes: number): Promise<WorkloadResult> {
  const open = CONTESTANTS[name];
  if (open === undefined) throw new Error(`no contestant ${name}; there are ${Object.keys(CONTESTANTS).join(', ')}`);
  const engine = await open(directory);
  const random = generator(0x9e3779b9);
  const pool = values(valueBytes, random);
  const value = (): Buffer => pool[random() % pool.length] ?? Buffer.alloc(valueBytes);
  // 16 bytes, in random order: a permutation of 0 … keys-1 by an odd multiplier modulo a power of two.
  const space = 2 ** Math.ceil(Math.log2(keys));
  const order: number[] = [];
  for (let i = 0; i < space; i += 1) {
    const next = Math.imul(i, 0x9e3779b1) & (space - 1);
    if (next < keys) order.push(next);
  }
  const keyOf = (n: number): string => `key-${String(n).padStart(12, '0')}`;

  const fill = await rate(keys, async () => {
    for (let at = 0; at < keys; at += BATCH) {
      await engine.putBatch(order.slice(at, at + BATCH).map((n) => [keyOf(n), value()] as const));
    }
    await engine.drain();
  });
  const diskBytes = bytesBelow(directory);

  const reads = 200_000;
  const readMany = async (keyAt: () => string, present: boolean): Promise<void> => {
    for (let i = 0; i < reads; i += 1) {
      const found = engine.read(keyAt());
      if ((typeof found === 'boolean' ? found : await found) !== present) throw new Error('a read was wrong');
    }
  };
  // Hits go to a hot tenth of the keys, after one round to warm the caches.
  const hot = Math.max(1, Math.floor(keys / 10));
  const hotKey = (): string => keyOf(order[random() % hot] ?? 0);
  await readMany(hotKey, true);
  const hit = await rate(reads, () => readMany(hotKey, true));
  const miss = await rate(reads, () => readMany(() => `key-${String(random() % keys).padStart(12, '0')}x`, false));

  const puts = 20_000;
  let sent = 0;
  const writer = async (): Promise<void> => {
    while (sent < puts) {
      sent += 1;
      await engine.putDurable(`durable-${sent}`, value());
    }
  };
  const durable = await rate(puts, async () => {
    await Promise.all(Array.from({ length: IN_FLIGHT }, writer));
  });
  await engine.close();
  return { fill, durable, hit, miss, diskBytes, peakBytes: peakBytes() };
}

const [name = 'ours', keys = '200000', valueBytes = '1024', place] = process.argv.slice(2);
const result = await within(place, (directory) => main(directory, name, Number(keys), Number(valueBytes)));
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exit(0);
