/**
 * Which client writes of late were begun, as far as this node knows: as the coordinator, or as a replica that has the result. Whoever hands a write
 * to a second coordinator, because the first is silent (hedged requests: Dean and Barroso, "The Tail at Scale", 2013), has it ask here first, so
 * that the write is finished and not made a second time.
 *
 * What is forgotten, by a restart or because much was written since, costs no write: it is then made again, by the second coordinator alone, since
 * the first begins none that comes late.
 *
 * Invariants: an attempt is known until WAYS others came to its set, of which there are SETS; memory is constant. Nodes count their ids from a random
 * one of 2^52: that two of them give the same within what is remembered is less likely than a wrong checksum.
 */

import type { ByteString } from '../../base/bytes.ts';
import { invariant } from '../../base/errors.ts';
import { type Actor, type Dot, type KvObject, type OperationRecord } from '../versioning/object.ts';
import { mergeOperations, operationOf } from '../versioning/operation.ts';
import type { Operation } from '../versioning/update.ts';

const WAYS = 4;
export const SETS = 16_384;
const TWO_32 = 2 ** 32;
/** In the place of the bytes that a client draws, and the hash of what it asks for. */
const ID_PREFIX = 'attempt:';
const NO_BODY: ByteString = '\0'.repeat(8);

export class Attempts {
  #nextId: number;
  /** Set by set; negative where the key existed before the write, 0 where nothing is remembered. */
  readonly #ids = new Float64Array(SETS * WAYS);
  /** The dots of the same writes, where they left a value. */
  readonly #counters = new Float64Array(SETS * WAYS);
  readonly #actors: (Actor | undefined)[] = new Array<Actor | undefined>(SETS * WAYS).fill(undefined);
  /** In each set, the place of the oldest. */
  readonly #oldest = new Uint8Array(SETS);
  /** Where the last dot is whose counter ends so. */
  readonly #byCounter = new Uint16Array(SETS * WAYS);

  /** @param high 20 random bits at least, @param low 32: where this node's ids begin */
  constructor(high: number, low: number) {
    this.#nextId = 1 + (high % 2 ** 20) * TWO_32 + low;
  }

  /** Names a write: 1 to 2^53-1, never given before. */
  name(): number {
    const id = this.#nextId;
    this.#nextId += 1;
    return id;
  }

  /**
   * The write of that id was begun, and a copy here holds it.
   *
   * @param dot of the value that it wrote
   */
  note(id: number, existed: boolean, dot: Dot | undefined): void {
    invariant(Number.isSafeInteger(id) && id > 0, 'an attempt has an id');
    const set = id % SETS;
    const place = this.#oldest[set] ?? 0;
    const at = set * WAYS + place;
    this.#ids[at] = existed ? -id : id;
    this.#actors[at] = dot?.actor;
    this.#oldest[set] = (place + 1) % WAYS;
    if (dot === undefined) return;
    this.#counters[at] = dot.counter;
    this.#byCounter[dot.counter % (SETS * WAYS)] = at;
  }

  /** Whether the key existed before the write of that id; undefined where that is not known to have begun. */
  find(id: number): boolean | undefined {
    const from = (id % SETS) * WAYS;
    for (let at = from; at < from + WAYS; at += 1) {
      const known = this.#ids[at];
      if (known === id) return false;
      if (known === -id && id !== 0) return true;
    }
    return undefined;
  }

  /**
   * The object with a record of each attempt that is known to have written one of its values. A write that has seen such a value replaces what the
   * attempt wrote, also if a second coordinator, which knows nothing of the first, is about to write it once more.
   */
  recorded(object: KvObject): KvObject {
    let { operations } = object;
    for (const { actor, counter, time, blind } of object.siblings) {
      const id = blind ? this.#idOf(actor, counter) : undefined;
      if (id === undefined || operationOf(object, { actor, counter }) !== undefined) continue;
      const record: OperationRecord = { ...operationOfAttempt(id), actor, counter, ms: time.ms, existed: false, replaced: false };
      operations = mergeOperations([record], operations);
    }
    return operations === object.operations ? object : { ...object, operations };
  }

  #idOf(actor: Actor, counter: number): number | undefined {
    const at = this.#byCounter[counter % (SETS * WAYS)] ?? 0;
    return this.#actors[at] === actor && this.#counters[at] === counter ? Math.abs(this.#ids[at] ?? 0) : undefined;
  }
}

/** An attempt as an operation: how a second coordinator records what it writes, and everybody what such a write may write once more. */
export function operationOfAttempt(id: number): Operation {
  let bytes = '';
  for (let rest = id; bytes.length < 8; rest = Math.floor(rest / 256)) bytes = String.fromCharCode(rest % 256) + bytes;
  return { id: ID_PREFIX + bytes, bodyHash: NO_BODY };
}
