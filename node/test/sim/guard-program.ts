/**
 * Tries every forbidden thing under the guard, and rejections that nobody handles; prints, by name, whether each was noticed. Run by
 * guard.test.ts as a program: jest lends its tests another `process`.
 */

import crypto from 'node:crypto';
import fs from 'node:fs';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { deflate, deflateSync, crc32 } from 'node:zlib';
import lz4 from 'lz4-napi';
import snappy from 'snappy';
import { arm, disarm } from '../../sim/world/guard.ts';
import { Process } from '../../sim/world/process.ts';
import { World } from '../../sim/world/world.ts';

const attempts: Readonly<Record<string, () => unknown>> = {
  'Date.now': () => Date.now(),
  'new Date()': () => new Date(),
  'Math.random': () => Math.random(),
  'performance.now': () => performance.now(),
  'process.hrtime': () => process.hrtime.bigint(),
  setTimeout: () => setTimeout(() => undefined, 1),
  setImmediate: () => setImmediate(() => undefined),
  queueMicrotask: () => {
    queueMicrotask(() => undefined);
  },
  'crypto.randomBytes': () => crypto.randomBytes(4),
  'crypto.getRandomValues': () => globalThis.crypto.getRandomValues(new Uint8Array(4)),
  'fs.readFileSync': () => fs.readFileSync('/dev/null'),
  'fs.promises.readFile': () => fs.promises.readFile('/dev/null'),
  readFile: () => readFile('/dev/null'),
  'net.connect': () => net.connect(1),
  'zlib.deflate': () => {
    deflate('', () => undefined);
  },
  // Its handle is an async resource, though nothing of it is asynchronous: a run uses the native codecs.
  'zlib.deflateSync': () => deflateSync('x'),
  'an async resource': () => new MessageChannel(),
};

const allowed: Readonly<Record<string, () => unknown>> = {
  'a promise': () => Promise.resolve().then(() => undefined),
  nextTick: () => {
    process.nextTick(() => undefined);
  },
  'new Date(0)': () => new Date(0).toISOString(),
  crc32: () => crc32('x'),
  snappy: () => snappy.compressSync('some text'),
  lz4: () => lz4.compressSync(Buffer.from('some text')),
  structuredClone: () => structuredClone({ a: new Uint8Array(3) }),
};

function noticed(attempt: () => unknown): boolean {
  arm();
  try {
    attempt();
  } catch {
    // The breach is kept, whoever swallows the exception.
  }
  return disarm() !== undefined;
}

const tried = Object.fromEntries(Object.entries(attempts).map(([name, attempt]) => [name, noticed(attempt)]));
const passed = Object.fromEntries(Object.entries(allowed).map(([name, attempt]) => [name, !noticed(attempt)]));

/** The checkers that notice a rejection in a process that is alive, or dead. */
async function rejected(dead: boolean): Promise<string[]> {
  const world = new World(1, false);
  const owner = new Process(world, 'a', { offsetUs: 0, rate: 1 });
  const scenario = async (): Promise<void> => {
    world.schedule(0, owner, () => {
      if (dead) owner.fence();
      void Promise.reject(new Error('nobody looks'));
    });
    await world.sleep(1);
  };
  await world.run(scenario, { turns: 100, virtualMs: 100 });
  return world.failures.map((failure) => failure.checker);
}

const rejections = { alive: await rejected(false), dead: await rejected(true) };
process.stdout.write(`${JSON.stringify({ tried, passed, rejections, after: Date.now() > 0 })}\n`, () => process.exit(0));
