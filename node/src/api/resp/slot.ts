/** The place of one reply in a session's order: where a result goes that may come later. */

import type { ByteString } from '../../base/bytes.ts';
import type { Sink } from '../../runtime/answer.ts';
import type { ByteClaim } from '../byte-budget.ts';
import type { Command } from './command.ts';
import type { Protocol, ReplyWriter } from './reply.ts';

const NO_KEYS: readonly ByteString[] = [];

/** A reply in the line. */
export interface Queued {
  /** The version spoken when the request came. */
  readonly protocol: Protocol;
  readonly claim: ByteClaim | undefined;
  /** It can be written. */
  readonly settled: boolean;
  /** Once it is settled. */
  reply(writer: ReplyWriter): void;
}

/** A reply that was at hand at once, behind one that was not. */
export class Ready implements Queued {
  readonly protocol: Protocol;
  readonly claim: undefined;
  readonly settled = true;
  readonly #bytes: Uint8Array;

  constructor(protocol: Protocol, bytes: Uint8Array) {
    this.protocol = protocol;
    this.#bytes = bytes;
  }

  reply(writer: ReplyWriter): void {
    writer.raw(this.#bytes);
  }
}

/**
 * Refusals in a row, all alike: one place, however many they are, so that a client which is refused does not fill its line. Their replies together
 * stay within a chunk, since they are written in one piece.
 */
export class Refusals implements Queued {
  readonly protocol: Protocol;
  readonly claim: undefined;
  readonly settled = true;
  readonly #bytes: Uint8Array;
  readonly #most: number;
  #count = 1;

  /** @param most bytes that their replies may come to */
  constructor(protocol: Protocol, bytes: Uint8Array, most: number) {
    this.protocol = protocol;
    this.#bytes = bytes;
    this.#most = Math.floor(most / bytes.length);
  }

  /** There is room for one more. */
  get open(): boolean {
    return this.#count < this.#most;
  }

  /** Takes one more; false where it needs a place of its own. */
  add(bytes: Uint8Array): boolean {
    if (this.#bytes !== bytes || !this.open) return false;
    this.#count += 1;
    return true;
  }

  reply(writer: ReplyWriter): void {
    for (let left = this.#count; left > 0; left -= 1) writer.raw(this.#bytes);
  }
}

/** A place whose reply is still to come. */
export interface Awaited extends Queued {
  /** It stands in the session's line; before that, a result is at hand within the call that asked for it. */
  queued: boolean;
  /** Held until it is settled. */
  keys: readonly ByteString[];
}

export interface SlotOwner {
  /** The place, which was queued, has its result. */
  settled(slot: Awaited): void;
  /** The reply that tells a failure. */
  failure(error: unknown, command: Command): string;
}

export class Slot<T> implements Sink<T>, Awaited {
  readonly protocol: Protocol;
  readonly claim: ByteClaim | undefined;
  queued = false;
  settled = false;
  keys: readonly ByteString[] = NO_KEYS;
  readonly #owner: SlotOwner;
  readonly #command: Command;
  readonly #write: (writer: ReplyWriter, result: T) => void;
  #result: T | undefined;
  #failure: string | undefined;

  constructor(
    owner: SlotOwner,
    protocol: Protocol,
    command: Command,
    write: (writer: ReplyWriter, result: T) => void,
    claim: ByteClaim | undefined,
  ) {
    this.#owner = owner;
    this.protocol = protocol;
    this.#command = command;
    this.#write = write;
    this.claim = claim;
  }

  succeed(result: T): void {
    if (this.settled) return;
    this.#result = result;
    this.#settle();
  }

  fail(error: unknown): void {
    if (this.settled) return;
    this.#failure = this.#owner.failure(error, this.#command);
    this.#settle();
  }

  reply(writer: ReplyWriter): void {
    if (this.#failure !== undefined) writer.error(this.#failure);
    else this.#write(writer, this.#result as T);
    this.claim?.release();
  }

  #settle(): void {
    this.settled = true;
    if (this.queued) this.#owner.settled(this);
  }
}
