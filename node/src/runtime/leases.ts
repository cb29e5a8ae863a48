/**
 * The counters and the hybrid times that this store may give out, leased on disk ahead of their use.
 *
 * Invariants: no counter above the durable lease and no time above the durable ceiling leaves the store; renewal starts when half of a lease
 * is used, so that writers seldom wait; without writes nothing is renewed.
 */

import type { Clock } from '../env/clock.ts';
import { COUNTER_LEASE } from '../cluster/membership/boot.ts';
import { Hlc, type HybridTime, MAX_AHEAD_MS } from '../cluster/versioning/hlc.ts';
import { type Actor, actorOf, type Dot } from '../cluster/versioning/object.ts';
import type { IdentityFile } from './identity-file.ts';

export class Leases {
  readonly #file: IdentityFile;
  readonly #clock: Clock;
  readonly #timeLeaseMs: number;
  readonly #renewed: () => void;
  readonly #mostAheadMs: () => number;
  readonly #hlc: Hlc;
  #actor: Actor;
  #counter: number;
  /** The highest counter that may be used: durable. */
  #counterEnd: number;
  #renewing: Promise<void> | undefined;

  /**
   * @param file holds a durable identity of this boot
   * @param counter the last counter used
   * @param renewed runs after each renewal
   * @param mostAheadMs how far ahead of the wall clock a time may be to be taken in
   */
  constructor(
    file: IdentityFile,
    clock: Clock,
    counter: number,
    ceilingBefore: number,
    timeLeaseMs: number,
    renewed: () => void,
    mostAheadMs: () => number,
  ) {
    const { storeId, actorEpoch, counterEnd, ceilingMs } = file.current;
    this.#file = file;
    this.#clock = clock;
    this.#timeLeaseMs = timeLeaseMs;
    this.#renewed = renewed;
    this.#mostAheadMs = mostAheadMs;
    this.#hlc = new Hlc(ceilingBefore);
    this.#hlc.confirmCeiling(ceilingMs);
    this.#actor = actorOf(storeId, actorEpoch);
    this.#counter = counter;
    this.#counterEnd = counterEnd;
  }

  get counterUsed(): number {
    return this.#counter;
  }

  get latestMs(): number {
    return this.#hlc.latest.ms;
  }

  /** How far this store's times are ahead of what its peers surely take, in ms; half of what they tolerate is left to the skew between clocks. */
  aheadMs(): number {
    return this.#hlc.latest.ms - this.#clock.wallMs() - MAX_AHEAD_MS / 2;
  }

  /** Takes in a time that came with an object; false when it is too far ahead. `nowMs` is the wall clock's, as below. */
  observe(time: HybridTime, nowMs: number = this.#clock.wallMs()): boolean {
    return this.#hlc.observe(time, nowMs, this.#mostAheadMs()) === 'ok';
  }

  /** Whether a dot and a time can be given out now. Starts a renewal when half of a lease is used. */
  ready(nowMs: number = this.#clock.wallMs()): boolean {
    const latest = Math.max(nowMs, this.#hlc.latest.ms);
    if (this.#counterEnd - this.#counter < COUNTER_LEASE / 2 || latest + this.#timeLeaseMs / 2 > this.#hlc.ceilingMs) {
      // Who needs the result calls `renew` and hears of the failure there.
      this.renew().catch(() => undefined);
    }
    return this.#counter < this.#counterEnd && latest < this.#hlc.ceilingMs;
  }

  /** Keeps the ceiling ahead while objects of other coordinators are stored. */
  touch(): void {
    this.ready();
  }

  /** The next dot; only when `ready`. */
  dot(): Dot {
    this.#counter += 1;
    return { actor: this.#actor, counter: this.#counter };
  }

  /** The next time; only when `ready`. */
  time(nowMs: number): HybridTime {
    return this.#hlc.now(nowMs);
  }

  /** Takes the next leases; resolves when they are durable. @throws CoterieError DISK_FULL, DISK_FAILED */
  renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renew(): Promise<void> {
    const counterEnd = this.#counter + COUNTER_LEASE;
    const actor = this.#actor;
    const ceilingMs = Math.max(this.#clock.wallMs(), this.#hlc.latest.ms) + this.#timeLeaseMs;
    await this.#file.change((identity) => ({
      ...identity,
      lease: identity.lease + 1,
      counterEnd: Math.max(identity.counterEnd, counterEnd),
      ceilingMs: Math.max(identity.ceilingMs, ceilingMs),
    }));
    if (actor === this.#actor) this.#counterEnd = Math.max(this.#counterEnd, counterEnd);
    this.#hlc.confirmCeiling(ceilingMs);
    this.#renewed();
  }

  /** Gives up the present actor at once; the new one can be used after `adopt`. */
  abandonActor(): void {
    this.#counterEnd = 0;
    this.#counter = 0;
    this.#actor = '';
  }

  /** Takes on the actor of the identity file, whose lease is durable. */
  adoptActor(): void {
    const { storeId, actorEpoch, counterEnd } = this.#file.current;
    this.#actor = actorOf(storeId, actorEpoch);
    this.#counter = 0;
    this.#counterEnd = counterEnd;
  }
}
