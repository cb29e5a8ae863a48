/**
 * Replies as bytes, in RESP2 or RESP3.
 *
 * One writer serves all sessions of a server: a session writes, sends what it wrote, and clears, all within one turn. So there is one
 * scratch however many clients are connected, and replies of one turn leave in one piece.
 */

import { Buffer } from 'node:buffer';

import type { ByteString } from '../../base/bytes.ts';

/** The version of the protocol that a session speaks. */
export type Protocol = 2 | 3;

const CR = 13;
const LF = 10;
const ZERO = 48;
const MINUS = 45;
/** What is left of the scratch after a large reply. */
const IDLE_BYTES = 256 * 1024;
/** Room for a type byte, a number, and two line ends. */
const HEADER_BYTES = 32;

export class ReplyWriter {
  protocol: Protocol = 2;
  #scratch: Buffer = Buffer.allocUnsafeSlow(64 * 1024);
  #at = 0;

  get length(): number {
    return this.#at;
  }

  /** What was written from `from` on, valid until the next write. */
  view(from = 0): Buffer {
    return this.#scratch.subarray(from, this.#at);
  }

  /** Takes back everything from `length` on. */
  cut(length: number): void {
    this.#at = length;
    if (length === 0 && this.#scratch.length > IDLE_BYTES) this.#scratch = Buffer.allocUnsafeSlow(IDLE_BYTES);
  }

  /** Bytes that are a reply already. */
  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#scratch.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  ok(): void {
    this.#room(5);
    const scratch = this.#scratch;
    const at = this.#at;
    scratch[at] = 43;
    scratch[at + 1] = 79;
    scratch[at + 2] = 75;
    scratch[at + 3] = CR;
    scratch[at + 4] = LF;
    this.#at = at + 5;
  }

  simple(text: ByteString): void {
    this.#line(43, text);
  }

  /** @param text starts with the error's class, as in `ERR syntax error`; line ends in it become spaces */
  error(text: ByteString): void {
    this.#line(45, text.replaceAll(/[\r\n]/g, ' '));
  }

  integer(value: number): void {
    this.#number(58, value);
  }

  bulk(bytes: Uint8Array): void {
    const length = bytes.length;
    this.#number(36, length);
    this.#room(length + 2);
    this.#scratch.set(bytes, this.#at);
    this.#at += length;
    this.#lineEnd();
  }

  bulkText(text: ByteString): void {
    this.#number(36, text.length);
    this.#room(text.length + 2);
    this.#scratch.write(text, this.#at, 'latin1');
    this.#at += text.length;
    this.#lineEnd();
  }

  nil(): void {
    this.raw(this.protocol === 3 ? NIL_3 : NIL_2);
  }

  array(length: number): void {
    this.#number(42, length);
  }

  /** A map of `length` pairs; in RESP2 an array of keys and values in turn. */
  map(length: number): void {
    if (this.protocol === 3) this.#number(37, length);
    else this.#number(42, length * 2);
  }

  /** A set; in RESP2 an array. */
  set(length: number): void {
    this.#number(this.protocol === 3 ? 126 : 42, length);
  }

  /** Text for people; in RESP2 a bulk string. */
  verbatim(text: ByteString): void {
    if (this.protocol === 2) {
      this.bulkText(text);
      return;
    }
    this.#number(61, text.length + 4);
    this.raw(Buffer.from(`txt:${text}\r\n`, 'latin1'));
  }

  #line(type: number, text: ByteString): void {
    this.#room(text.length + 3);
    this.#scratch[this.#at] = type;
    this.#scratch.write(text, this.#at + 1, 'latin1');
    this.#at += text.length + 1;
    this.#lineEnd();
  }

  #lineEnd(): void {
    this.#scratch[this.#at] = CR;
    this.#scratch[this.#at + 1] = LF;
    this.#at += 2;
  }

  #number(type: number, value: number): void {
    this.#room(HEADER_BYTES);
    const scratch = this.#scratch;
    let at = this.#at;
    scratch[at] = type;
    at += 1;
    let rest = value;
    if (rest < 0) {
      scratch[at] = MINUS;
      at += 1;
      rest = -rest;
    }
    let digits = 1;
    for (let power = 10; power <= rest; power *= 10) digits += 1;
    for (let place = at + digits - 1; place >= at; place -= 1) {
      const quotient = Math.floor(rest / 10);
      scratch[place] = ZERO + (rest - quotient * 10);
      rest = quotient;
    }
    this.#at = at + digits;
    this.#lineEnd();
  }

  #room(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#scratch.length) return;
    let size = this.#scratch.length;
    while (size < needed) size *= 2;
    const larger = Buffer.allocUnsafeSlow(size);
    this.#scratch.copy(larger, 0, 0, this.#at);
    this.#scratch = larger;
  }
}

const NIL_2 = Buffer.from('$-1\r\n');
const NIL_3 = Buffer.from('_\r\n');
