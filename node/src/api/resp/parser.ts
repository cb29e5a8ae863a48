/**
 * Requests out of received bytes, incrementally.
 *
 *   request = "*" count CRLF { "$" length CRLF bytes CRLF }     an array of bulk strings
 *           | line LF                                           an inline command (see inline.ts)
 *
 * Invariants:
 * - A byte is looked at a bounded number of times, however the stream is cut into chunks.
 * - Chunks are borrowed: `settle` copies what is left of one before its owner takes it back. What is kept never exceeds
 *   `requestBytes` plus one chunk, and is accounted for in the budget.
 * - Arguments are positions in the buffer, relative to the start of their request: nothing is allocated for each argument.
 * - After `broken` the stream cannot be understood any more; the session ends.
 */

import { Buffer } from 'node:buffer';

import type { ByteString } from '../../base/bytes.ts';
import type { ByteBudget } from '../byte-budget.ts';
import { splitInline } from './inline.ts';
import { type RespLimits, STRANGER_ARGUMENTS, STRANGER_BULK_BYTES } from './limits.ts';

export type ParserState = 'request' | 'more' | 'broken';

/** What the head of a request came to: its arguments are due, or it was none, or it is not there yet, or it is wrong. */
type Head = 'begun' | 'nothing' | 'more' | 'broken';

const CR = 13;
const LF = 10;
const STAR = 42;
const DOLLAR = 36;
const MINUS = 45;
const ZERO = 48;
const NINE = 57;

/** Longer than any count or length within bounds, with its sign. */
const HEADER_BYTES = 32;
const INLINE_BYTES = 64 * 1024;
/** What Redis reads at most as one bulk string; longer is no length but noise. */
const BULK_BYTES = 512 * 1024 * 1024;
const NOTHING = Buffer.alloc(0);
const SMALLEST_KEPT = 4096;

/** What `#header` answers besides a number. */
const INCOMPLETE = -1;
const NEGATIVE = -2;
const MALFORMED = -3;

export class RequestParser {
  /** Redis' text for what was wrong, once `next` answered `broken`. */
  failure = '';
  /** Arguments of the request that `next` answered, its name included. */
  argc = 0;
  /** 0, or the bytes of the argument with which the request outgrew `requestBytes`: it was read past, and has no arguments. */
  outgrown = 0;
  /** The client has not shown who it is: as with Redis, it may send little. */
  stranger: boolean;

  readonly #limits: RespLimits;
  readonly #budget: ByteBudget;
  #buffer: Buffer = NOTHING;
  /** `#buffer` is the parser's own, not a borrowed chunk. */
  #kept = false;
  #keptBytes = 0;
  #end = 0;
  /** Where the request begins that is being read, or was answered last. */
  #start = 0;
  #at = 0;
  /** Arguments announced; -1 before the header of a request. */
  #expected = -1;
  /** The length of the bulk string that comes next; -1 before its header. */
  #bulk = -1;
  /** Bytes still to be read past. */
  #skip = 0;
  #held = false;
  /** An inline request has begun whose line is not complete: `#at` is where to look on for its end. */
  #midLine = false;
  /** The unescaped words of an inline request, one after the other. */
  #inline: Buffer | undefined;
  #from = new Int32Array(16);
  #to = new Int32Array(16);

  constructor(limits: RespLimits, budget: ByteBudget, stranger: boolean) {
    this.#limits = limits;
    this.#budget = budget;
    this.stranger = stranger;
  }

  /** Takes a chunk in, borrowed until `settle`. False where there is no room for it: the session must end. */
  feed(chunk: Uint8Array): boolean {
    if (this.#kept && this.#end > this.#start) return this.#append(chunk);
    this.#release();
    this.#buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#end = chunk.length;
    this.#start = 0;
    this.#at = 0;
    return true;
  }

  /** Copies what is left of the borrowed chunk. False where there is no room for it: the session must end. */
  settle(): boolean {
    this.#forget();
    const rest = this.#end - this.#start;
    if (rest === 0) {
      this.close();
      return true;
    }
    if (this.#kept) return true;
    const size = capacityFor(rest);
    if (!this.#budget.take(size)) return false;
    const own = Buffer.allocUnsafeSlow(size);
    this.#buffer.copy(own, 0, this.#start, this.#end);
    this.#buffer = own;
    this.#kept = true;
    this.#keptBytes = size;
    this.#at -= this.#start;
    this.#end = rest;
    this.#start = 0;
    return true;
  }

  /** Gives everything back. */
  close(): void {
    this.#release();
    this.#buffer = NOTHING;
    this.#start = this.#at = this.#end = 0;
  }

  /** Makes `next` answer the same request again. */
  hold(): void {
    this.#held = true;
  }

  /** Reads on to the end of the next request. */
  next(): ParserState {
    if (this.#held) {
      this.#held = false;
      return 'request';
    }
    for (;;) {
      if (this.#expected === -1) {
        if (!this.#midLine) {
          if (this.#at >= this.#end) return 'more';
          this.#begin();
        }
        const state = this.#buffer[this.#start] === STAR ? this.#count() : this.#line();
        if (state === 'nothing') continue;
        if (state !== 'begun') return state;
      }
      const state = this.#arguments();
      // The next call begins a new request behind this one.
      if (state === 'request') this.#expected = -1;
      return state;
    }
  }

  length(index: number): number {
    return (this.#to[index] ?? 0) - (this.#from[index] ?? 0);
  }

  /** The argument as a view, valid until the next call of `feed`, `next` or `settle`. */
  bytes(index: number): Buffer {
    const base = this.#inline === undefined ? this.#start : 0;
    return (this.#inline ?? this.#buffer).subarray(base + (this.#from[index] ?? 0), base + (this.#to[index] ?? 0));
  }

  text(index: number): ByteString {
    const base = this.#inline === undefined ? this.#start : 0;
    return (this.#inline ?? this.#buffer).toString('latin1', base + (this.#from[index] ?? 0), base + (this.#to[index] ?? 0));
  }

  /** Three letters of an argument as one number, for the two names worth telling without a string; 0 for another length. */
  letters(index: number): number {
    const from = this.#from[index] ?? 0;
    if ((this.#to[index] ?? 0) - from !== 3) return 0;
    const buffer = this.#inline ?? this.#buffer;
    const at = (this.#inline === undefined ? this.#start : 0) + from;
    return (((buffer[at] ?? 0) | 32) << 16) | (((buffer[at + 1] ?? 0) | 32) << 8) | ((buffer[at + 2] ?? 0) | 32);
  }

  #begin(): void {
    this.#start = this.#at;
    this.argc = 0;
    this.outgrown = 0;
    this.#inline = undefined;
  }

  #count(): Head {
    const count = this.#header('too big mbulk count string', 'invalid multibulk length');
    if (count === INCOMPLETE) return 'more';
    if (count === MALFORMED) return 'broken';
    // As with Redis, an empty or a null array is no request.
    if (count === NEGATIVE || count === 0) return 'nothing';
    if (count > this.#limits.arguments) return this.#broken('invalid multibulk length');
    if (this.stranger && count > STRANGER_ARGUMENTS) return this.#broken('unauthenticated multibulk length');
    this.#expected = count;
    return 'begun';
  }

  #arguments(): ParserState {
    const expected = this.#expected;
    while (this.argc < expected) {
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, this.#end - this.#at);
        this.#at += passed;
        this.#skip -= passed;
        if (this.#skip > 0) return 'more';
        this.argc += 1;
        continue;
      }
      if (this.#bulk === -1) {
        if (this.#at >= this.#end) return 'more';
        const first = this.#buffer[this.#at] ?? 0;
        if (first !== DOLLAR) return this.#broken(`expected '$', got '${String.fromCharCode(first)}'`);
        const length = this.#header('too big bulk count string', 'invalid bulk length');
        if (length === INCOMPLETE) return 'more';
        if (length === MALFORMED) return 'broken';
        if (length === NEGATIVE || length > BULK_BYTES) return this.#broken('invalid bulk length');
        if (this.stranger && length > STRANGER_BULK_BYTES) return this.#broken('unauthenticated bulk length');
        if (this.outgrown > 0 || this.#at - this.#start + length + 2 > this.#limits.requestBytes) {
          this.outgrown = Math.max(this.outgrown, length);
          this.#skip = length + 2;
          continue;
        }
        this.#bulk = length;
      }
      const to = this.#at + this.#bulk;
      if (to + 2 > this.#end) return 'more';
      if (this.#buffer[to] !== CR || this.#buffer[to + 1] !== LF) return this.#broken('expected CRLF after a bulk string');
      this.#argument(this.#at - this.#start, to - this.#start);
      this.#at = to + 2;
      this.#bulk = -1;
    }
    if (this.outgrown > 0) this.argc = 0;
    return 'request';
  }

  #argument(from: number, to: number): void {
    const index = this.argc;
    if (index === this.#from.length) {
      this.#from = doubled(this.#from);
      this.#to = doubled(this.#to);
    }
    this.#from[index] = from;
    this.#to[index] = to;
    this.argc = index + 1;
  }

  /** The number after the type byte at `#at`, which then stands behind the line; else INCOMPLETE (and nothing moves), NEGATIVE or MALFORMED. */
  #header(tooLong: string, malformed: string): number {
    const buffer = this.#buffer;
    let at = this.#at + 1;
    let value = 0;
    const negative = at < this.#end && buffer[at] === MINUS;
    if (negative) at += 1;
    const first = at;
    for (; at < this.#end; at += 1) {
      const byte = buffer[at] ?? 0;
      if (byte === CR) break;
      if (at - this.#at > HEADER_BYTES) {
        this.#broken(tooLong);
        return MALFORMED;
      }
      // As with Redis, no leading zero and nothing but digits.
      if (byte < ZERO || byte > NINE || (at === first + 1 && buffer[first] === ZERO)) {
        this.#broken(malformed);
        return MALFORMED;
      }
      value = value * 10 + (byte - ZERO);
    }
    if (at + 1 >= this.#end) return INCOMPLETE;
    if (at === first || buffer[at + 1] !== LF || (negative && value === 0) || !Number.isSafeInteger(value)) {
      this.#broken(malformed);
      return MALFORMED;
    }
    this.#at = at + 2;
    return negative ? NEGATIVE : value;
  }

  #line(): Head {
    const end = this.#buffer.subarray(0, this.#end).indexOf(LF, this.#at);
    if (end === -1) {
      this.#at = this.#end;
      this.#midLine = true;
      return this.#end - this.#start > INLINE_BYTES ? this.#broken('too big inline request') : 'more';
    }
    this.#midLine = false;
    if (end - this.#start > INLINE_BYTES) return this.#broken('too big inline request');
    const words = splitInline(this.#buffer.toString('latin1', this.#start, end));
    if (words === undefined) return this.#broken('unbalanced quotes in request');
    this.#at = end + 1;
    if (words.length === 0) return 'nothing';
    this.#inline = Buffer.from(words.join(''), 'latin1');
    let from = 0;
    for (const word of words) {
      this.#argument(from, from + word.length);
      from += word.length;
    }
    this.#expected = words.length;
    return 'begun';
  }

  #broken(failure: string): 'broken' {
    this.failure = failure;
    return 'broken';
  }

  #append(chunk: Uint8Array): boolean {
    this.#forget();
    const rest = this.#end - this.#start;
    if (this.#end + chunk.length > this.#keptBytes) {
      const size = capacityFor(rest + chunk.length);
      if (size <= this.#keptBytes) {
        this.#buffer.copyWithin(0, this.#start, this.#end);
      } else {
        if (!this.#budget.take(size - this.#keptBytes)) return false;
        const larger = Buffer.allocUnsafeSlow(size);
        this.#buffer.copy(larger, 0, this.#start, this.#end);
        this.#buffer = larger;
        this.#keptBytes = size;
      }
      this.#at -= this.#start;
      this.#start = 0;
      this.#end = rest;
    }
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
    return true;
  }

  /** Moves the start behind what no request needs any more. */
  #forget(): void {
    if (this.#held) return;
    const between = this.#expected === -1 && !this.#midLine;
    if (between || this.outgrown > 0) this.#start = this.#at;
  }

  #release(): void {
    if (!this.#kept) return;
    this.#budget.give(this.#keptBytes);
    this.#kept = false;
    this.#keptBytes = 0;
    this.#buffer = NOTHING;
  }
}

/** Doubling keeps the copies of a growing buffer linear in its final size. */
function capacityFor(bytes: number): number {
  let size = SMALLEST_KEPT;
  while (size < bytes) size *= 2;
  return size;
}

function doubled(positions: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(positions.length * 2);
  larger.set(positions);
  return larger;
}
