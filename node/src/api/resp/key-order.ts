/**
 * Which keys a session's unfinished requests touch, so that requests on one key take effect in the order they were sent, as clients of
 * Redis expect, while those on different keys overlap.
 *
 * Invariant: a key is held by one writer alone, or by any number of readers.
 */

import type { ByteString } from '../../base/bytes.ts';
import { murmurHash3 } from '../../base/hash.ts';
import { KeyTable } from '../../base/key-table.ts';
import type { Command } from './command.ts';
import type { RequestParser } from './parser.ts';

const WRITER = -1;
const SEED = 0;
const NONE: readonly ByteString[] = [];

export class KeyOrder {
  readonly #table = new KeyTable();
  /** By the numbers of their keys: WRITER, or how many readers; without the keys of `#lone`. */
  readonly #holders: number[] = [];
  /** The keys of the only unfinished request, where there is one only: most sessions never have two. */
  #lone: readonly ByteString[] | undefined;
  #loneWrites = false;

  /** The request must wait for an earlier one. */
  mustWait(command: Command, request: RequestParser): boolean {
    const lone = this.#lone;
    if (lone === undefined) {
      if (this.#table.size === 0) return false;
      for (const key of keysOf(command, request)) {
        const number = this.#table.find(key, hashOf(key));
        if (number >= 0 && (command.writes || this.#holders[number] === WRITER)) return true;
      }
      return false;
    }
    return (command.writes || this.#loneWrites) && keysOf(command, request).some((key) => lone.includes(key));
  }

  /** Holds the request's keys until `leave` is given what this answers. */
  enter(command: Command, request: RequestParser): readonly ByteString[] {
    const keys = keysOf(command, request);
    if (this.#lone === undefined && this.#table.size === 0) {
      this.#lone = keys;
      this.#loneWrites = command.writes;
      return keys;
    }
    if (this.#lone !== undefined) this.#hold(this.#lone, this.#loneWrites);
    this.#lone = undefined;
    this.#hold(keys, command.writes);
    return keys;
  }

  leave(keys: readonly ByteString[]): void {
    if (this.#lone === keys) {
      this.#lone = undefined;
      return;
    }
    for (const key of keys) {
      const hash = hashOf(key);
      const number = this.#table.find(key, hash);
      if (number < 0) continue;
      const holders = this.#holders[number] ?? 0;
      if (holders > 1) this.#holders[number] = holders - 1;
      else this.#table.remove(key, hash);
    }
  }

  #hold(keys: readonly ByteString[], writes: boolean): void {
    for (const key of keys) {
      const hash = hashOf(key);
      let number = this.#table.find(key, hash);
      const readers = number < 0 ? 0 : (this.#holders[number] ?? 0);
      if (number < 0) number = this.#table.add(key, hash);
      this.#holders[number] = writes ? WRITER : readers + 1;
    }
  }
}

function hashOf(key: ByteString): number {
  return murmurHash3(key, SEED);
}

function keysOf(command: Command, request: RequestParser): readonly ByteString[] {
  switch (command.keys) {
    case 'none':
      return NONE;
    case 'first':
      return request.argc > 1 ? [request.text(1)] : NONE;
    case 'all':
      return everyKey(request, 1);
    case 'pairs':
      return everyKey(request, 2);
  }
}

function everyKey(request: RequestParser, step: number): ByteString[] {
  const keys: ByteString[] = [];
  for (let index = 1; index < request.argc; index += step) keys.push(request.text(index));
  return keys;
}
