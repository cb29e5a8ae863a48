/**
 * The records of writes that two coordinators may be asked for, because the first is silent (hedged requests: Dean and Barroso, "The Tail at Scale",
 * 2013). Whoever forwards such a write names it, and its dot is recorded under that name as under a client's operation id. So the second coordinator
 * finds out whether the first has begun it; and where it could not, and wrote it once more, the two dots are twins of one write (operation.ts).
 *
 * A client may come back with its id after minutes. These records are of use only while two coordinators may be under way.
 */

import { type ByteString, byteStringOf64 } from '../../base/bytes.ts';
import { readU32 } from './fields.ts';
import type { OperationRecord } from './object.ts';
import type { Operation } from './update.ts';

/** In the place of bytes that a client draws, and of the hash of what it asks for, which is never this. */
const ID_PREFIX = 'attempt:';
const NO_BODY: ByteString = '\0'.repeat(8);
/**
 * As many of the newest an object keeps, none older than so many ms before the newest. The second coordinator begins a write within 0.9 s of its
 * sending (runtime/hedged-write.ts); the rest is for clocks that differ, by more than peers tolerate.
 */
export const MAX_ATTEMPTS = 4;
export const ATTEMPT_WINDOW_MS = 2000;
const TWO_32 = 2 ** 32;

/** Names for writes: nodes count from a random one of 2^52, so that two of them give the same with less likelihood than that a checksum is wrong. */
export class AttemptIds {
  #next: number;

  /** @param high 20 random bits at least, @param low 32 */
  constructor(high: number, low: number) {
    this.#next = 1 + (high % 2 ** 20) * TWO_32 + low;
  }

  /** 1 to 2^53-1, never given before. */
  next(): number {
    const id = this.#next;
    this.#next += 1;
    return id;
  }
}

/** The write of that name as an operation. */
export function operationOfAttempt(id: number): Operation {
  return { id: ID_PREFIX + byteStringOf64(Math.floor(id / TWO_32), id >>> 0), bodyHash: NO_BODY };
}

/** The body hash at `at` in an encoded record, if it is that of attempts. Every forwarded write is recorded so: no string is made for it. */
export function attemptBodyAt(bytes: Uint8Array, at: number): ByteString | undefined {
  return readU32(bytes, at) === 0 && readU32(bytes, at + 4) === 0 ? NO_BODY : undefined;
}

/** Whether a record is of such a write, and not of a client's operation id. */
export function isAttempt({ bodyHash }: Pick<OperationRecord, 'bodyHash'>): boolean {
  return bodyHash === NO_BODY;
}
