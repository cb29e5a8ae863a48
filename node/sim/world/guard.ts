/**
 * What keeps a run replayable: while it is armed, everything that would bring in the outside world fails.
 *
 * - `Date`, `Math.random`, `performance`, `crypto`, timers, `setImmediate`, `fs` and `process.hrtime` throw, in libraries too.
 * - An `async_hooks` hook fails on every resource but `Immediate` and `TickObject`: those are all that the loop itself needs; any other
 *   is work of libuv, whose order no seed decides. (Dynamic `import()` escapes it; lint bans that.)
 *
 * Everything is installed once and asks `armed`, because swapping exports of built-in modules is slow.
 */

import { createHook } from 'node:async_hooks';
import childProcess from 'node:child_process';
import crypto from 'node:crypto';
import dgram from 'node:dgram';
import dns from 'node:dns';
import fs from 'node:fs';
import fsPromises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import timers from 'node:timers';
import zlib from 'node:zlib';

const ALLOWED_RESOURCES = new Set(['Immediate', 'TickObject']);
/** Pure functions of modules whose other functions reach outside. */
const PURE = new Set(['isIP', 'isIPv4', 'isIPv6', 'timingSafeEqual', 'clearTimeout', 'clearInterval', 'clearImmediate']);

let armed = false;
let installed = false;
let breach: string | undefined;

/** What a forbidden call throws; also kept until the guard is disarmed, so that a swallowed one is not missed. */
export class Forbidden extends Error {
  override readonly name = 'Forbidden';
}

function refuse(what: string): never {
  const error = new Forbidden(`${what} is forbidden in a simulated run`);
  breach ??= error.stack ?? error.message;
  throw error;
}

type Callable = (...args: unknown[]) => unknown;

function guarded(fn: Callable, name: string): Callable {
  return new Proxy(fn, {
    apply(target, self, args): unknown {
      if (armed) refuse(name);
      return Reflect.apply(target, self, args);
    },
    construct(target, args, newTarget): object {
      if (armed) refuse(`new ${name}`);
      return Reflect.construct(target, args, newTarget) as object;
    },
  });
}

function isCallable(value: unknown): value is Callable {
  return typeof value === 'function';
}

function guardAll(room: object, name: string, only?: (key: string) => boolean): void {
  for (const key of Object.keys(room)) {
    const value: unknown = Reflect.get(room, key);
    if (!isCallable(value) || PURE.has(key) || /^[A-Z_]/.test(key) || only?.(key) === false) continue;
    Reflect.set(room, key, guarded(value, `${name}.${key}`));
  }
}

function guardOne(owner: object, key: string, name: string): void {
  const value: unknown = Reflect.get(owner, key);
  if (isCallable(value)) Object.defineProperty(owner, key, { value: guarded(value, name), configurable: true, writable: true });
}

function guardDate(): void {
  const real = globalThis.Date;
  globalThis.Date = new Proxy(real, {
    apply(): never | string {
      return armed ? refuse('Date()') : real();
    },
    construct(target, args, newTarget): object {
      if (armed && args.length === 0) refuse('new Date()');
      return Reflect.construct(target, args, newTarget === globalThis.Date ? target : newTarget) as object;
    },
    get(target, key, receiver): unknown {
      if (armed && key === 'now') refuse('Date.now');
      return Reflect.get(target, key, receiver);
    },
  });
}

function install(): void {
  installed = true;
  guardDate();
  guardOne(Math, 'random', 'Math.random');
  for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'fetch']) {
    // queueMicrotask makes a resource of its own, which the hook would only notice later.
    guardOne(globalThis, name, name);
  }
  guardOne(globalThis.performance, 'now', 'performance.now');
  guardOne(process.hrtime, 'bigint', 'process.hrtime.bigint');
  guardOne(process, 'hrtime', 'process.hrtime');
  guardOne(globalThis.crypto, 'getRandomValues', 'crypto.getRandomValues');
  guardOne(globalThis.crypto, 'randomUUID', 'crypto.randomUUID');
  guardAll(fs, 'fs');
  guardAll(fsPromises, 'fs/promises');
  guardAll(timers, 'timers');
  guardAll(net, 'net');
  guardAll(dns, 'dns');
  guardAll(dgram, 'dgram');
  guardAll(childProcess, 'child_process');
  guardAll(crypto, 'crypto', (key) => /random|generate|scrypt$|pbkdf2$|hkdf$|checkPrime/.test(key));
  // Only the synchronous codecs: the others run in libuv's pool.
  guardAll(zlib, 'zlib', (key) => !/Sync$|^crc32$/.test(key));
  syncBuiltinESMExports();
}

const hook = createHook({
  init(_id, type): void {
    if (armed && !ALLOWED_RESOURCES.has(type)) {
      // Throwing in a hook would end the process without a word of the seed.
      breach ??= new Error(`async resource ${type} is forbidden in a simulated run`).stack ?? type;
    }
  },
  trackPromises: false,
});

/** From here on the outside world is forbidden. */
export function arm(): void {
  if (!installed) install();
  breach = undefined;
  hook.enable();
  armed = true;
}

/** Ends the guard; answers the first breach of it, if there was one. */
export function disarm(): string | undefined {
  armed = false;
  hook.disable();
  return breach;
}

/** The first breach so far. */
export function breached(): string | undefined {
  return breach;
}
