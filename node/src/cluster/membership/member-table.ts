/**
 * The member list of the failure detector: what this node knows of each member's life, by the members' positions in the topology.
 *
 * Invariants: a row only ever gets newer (a higher incarnation, or the same one with a higher heartbeat), in whatever order news come; the list of
 * recency holds each member once, the one whose row changed last first. Cost of learning a row: constant.
 */

import type { StoreId } from '../../base/ids.ts';
import { ROW } from './gossip.ts';

/** `reborn`: the member has a life that was not known before. */
export type Learned = 'old' | 'newer' | 'reborn';

export class MemberTable {
  readonly size: number;
  /** 0: nothing was ever heard of the member. */
  readonly incarnations: Float64Array;
  readonly heartbeats: Float64Array;
  readonly loads: Float64Array;
  /** The newest topology epoch that the member has. */
  readonly epochs: Float64Array;
  /** When its row last changed here, in this node's monotonic milliseconds. */
  readonly changedMs: Float64Array;
  readonly #stores: (StoreId | undefined)[];
  /** The life in which that store was named. */
  readonly #storeOf: Float64Array;
  /** A ring of the members by recency; its fixed point is at `size`. */
  readonly #older: Int32Array;
  readonly #newer: Int32Array;
  /** Who is in the message being made, by its number. */
  readonly #taken: Uint32Array;
  #message = 0;
  #turn = 0;
  #introduced = 0;

  constructor(size: number, nowMs: number) {
    this.size = size;
    this.incarnations = new Float64Array(size);
    this.heartbeats = new Float64Array(size);
    this.loads = new Float64Array(size);
    this.epochs = new Float64Array(size);
    this.changedMs = new Float64Array(size).fill(nowMs);
    this.#stores = new Array<StoreId | undefined>(size).fill(undefined);
    this.#storeOf = new Float64Array(size);
    this.#taken = new Uint32Array(size);
    this.#older = Int32Array.from({ length: size + 1 }, (_, at) => (at === size ? 0 : at + 1));
    this.#newer = Int32Array.from({ length: size + 1 }, (_, at) => (at === 0 ? size : at - 1));
  }

  /** Takes in a row, from whomever it comes. */
  learn(member: number, incarnation: number, heartbeat: number, load: number, epoch: number, nowMs: number): Learned {
    const known = this.incarnations[member] ?? 0;
    if (incarnation < known || (incarnation === known && heartbeat <= (this.heartbeats[member] ?? 0))) return 'old';
    this.incarnations[member] = incarnation;
    this.heartbeats[member] = heartbeat;
    this.loads[member] = load;
    this.epochs[member] = epoch;
    this.changedMs[member] = nowMs;
    this.#toFront(member);
    return incarnation > known ? 'reborn' : 'newer';
  }

  storeOf(member: number): StoreId | undefined {
    return this.#stores[member];
  }

  /** Takes in which store filled the slot in a life; an older life's is not heard. */
  introduce(member: number, incarnation: number, store: StoreId): void {
    if (incarnation < (this.#storeOf[member] ?? 0)) return;
    this.#storeOf[member] = incarnation;
    this.#stores[member] = store;
  }

  /** Begins a message: no member is in it. */
  beginMessage(): void {
    this.#message = (this.#message + 1) >>> 0;
  }

  /** Adds one member's row, unless nothing is known of it or it is there. */
  add(rows: number[], member: number): void {
    const incarnation = this.incarnations[member] ?? 0;
    if (incarnation === 0 || this.#taken[member] === this.#message) return;
    this.#taken[member] = this.#message;
    rows.push(member, incarnation, this.heartbeats[member] ?? 0, this.loads[member] ?? 0, this.epochs[member] ?? 0);
  }

  /**
   * Fills a message up to `most` rows: one half with those that changed last, newest first, the other with the next ones in turn, so that a list of
   * any size gets through in bounded messages.
   *
   * @param except this node: what it says of itself stands elsewhere
   */
  fill(rows: number[], most: number, except: number): void {
    const { size } = this;
    const newest = size - 1 <= most ? size : most >> 1;
    let member = this.#older[size] ?? size;
    for (let seen = 0; seen < newest && member !== size && rows.length < most * ROW; seen += 1) {
      if (member !== except) this.add(rows, member);
      member = this.#older[member] ?? size;
    }
    if (newest === size) return;
    for (let seen = 0; seen < size && rows.length < most * ROW; seen += 1) {
      this.#turn = this.#turn + 1 === size ? 0 : this.#turn + 1;
      if (this.#turn !== except) this.add(rows, this.#turn);
    }
  }

  /** The next member whose store is known, in turn; -1 where there is none. */
  nextIntroduction(): number {
    for (let seen = 0; seen < this.size; seen += 1) {
      this.#introduced = this.#introduced + 1 >= this.size ? 0 : this.#introduced + 1;
      if (this.#stores[this.#introduced] !== undefined) return this.#introduced;
    }
    return -1;
  }

  /** The life in which the member's store was named. */
  introducedIn(member: number): number {
    return this.#storeOf[member] ?? 0;
  }

  #toFront(member: number): void {
    const { size } = this;
    const newer = this.#newer[member] ?? 0;
    const older = this.#older[member] ?? 0;
    this.#older[newer] = older;
    this.#newer[older] = newer;
    const first = this.#older[size] ?? size;
    this.#newer[member] = size;
    this.#older[member] = first;
    this.#older[size] = member;
    this.#newer[first] = member;
  }
}
