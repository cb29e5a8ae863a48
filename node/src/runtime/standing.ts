/**
 * What this store may do now: whether it counts in quorums and coordinates writes; and the peers' say in it.
 *
 * A store that a peer refuses as replaced is never confirmed. A store that has just started first hears what its peers remember of it, because its disk may be older than what they saw. It counts once all
 * of them agree that nothing is missing, or `confirmMs` later if some cannot be reached: then with a new actor, because the silent ones might have
 * known of dots that this disk has forgotten.
 *
 * Invariants: a store that is not synchronised, was found rewound, or was removed from its slot coordinates nothing and counts in no R; a change to
 * the worse takes effect at once, one to the better only when it is durable.
 */

import type { Clock, Timer } from '../env/clock.ts';
import type { Random } from '../env/random.ts';
import { afterRewind, type BootDraw, bootSequence, continuity, newActor } from '../cluster/membership/boot.ts';
import type { PeerMemory, StoreIdentity } from '../cluster/membership/identity.ts';
import type { IdentityFile } from './identity-file.ts';
import type { Leases } from './leases.ts';
import type { Members } from './members.ts';
import type { Policies } from './policies.ts';

/** Pause before the identity file is written again after a failure. */
const RETRY_MS = 1000;

export interface StandingOptions {
  readonly file: IdentityFile;
  readonly leases: Leases;
  readonly members: Members;
  readonly policies: Policies;
  readonly clock: Clock;
  readonly random: Random;
  readonly confirmMs: number;
  /** The boot before this one ended by an orderly stop, so the actor was kept. */
  readonly keptActor: boolean;
  /** A peer that refuses this store because its slot was given to another. */
  readonly refusedBy: () => string | undefined;
  /** Something changed that peers or the synchroniser should know. */
  readonly changed: () => void;
  readonly warn: (event: string, fields: Readonly<Record<string, string | number>>) => void;
  readonly rewound: () => void;
}

export class Standing {
  readonly #options: StandingOptions;
  /** The identity at the start of this boot, or after the latest rewind. */
  #atBoot: StoreIdentity;
  #synchronised: boolean;
  #retired: boolean;
  /** It has met a peer. */
  #met = false;
  #confirmed = false;
  /** A new actor is on its way to the disk. */
  #renaming = 0;
  #ended = false;
  readonly #heard = new Set<number>();
  #grace: Timer | undefined;

  constructor(options: StandingOptions) {
    this.#options = options;
    this.#atBoot = options.file.current;
    this.#synchronised = options.file.current.synchronised;
    this.#retired = options.file.current.retired;
  }

  /** Begins to wait for the peers' word. */
  begin(): void {
    if (this.#alone) this.#confirmed = true;
    else this.#wait();
  }

  #wait(): void {
    const { clock, confirmMs } = this.#options;
    this.#grace = clock.after(confirmMs, () => {
      this.#confirmUnheard();
    });
  }

  /** There is nobody to disagree. */
  get #alone(): boolean {
    return this.#options.members.names.length === 1;
  }

  /** How far this store's times are ahead of what its peers take, in ms. */
  #aheadMs(): number {
    return this.#alone ? 0 : Math.max(0, this.#options.leases.aheadMs());
  }

  end(): void {
    this.#ended = true;
    this.#grace?.cancel();
  }

  get synchronised(): boolean {
    return this.#synchronised;
  }

  /**
   * Whether this store knows which of its hints were outlived: not with an empty or an old disk before it has copied what it lacks, nor before it has
   * met a peer.
   */
  get knowsHints(): boolean {
    return this.#confirmed && this.#met && !this.#options.file.current.behind;
  }

  /** Whether the store may be asked to help others synchronise as a full source. */
  get sound(): boolean {
    return this.#synchronised && this.#confirmed && !this.#retired;
  }

  countsInReads(): boolean {
    return this.#options.policies.counts(this.#synchronised && this.#confirmed) && !this.#retired;
  }

  /** Why this store may not coordinate a write now; undefined when it may. */
  refusesToCoordinate(): string | undefined {
    if (this.#ended) return 'the node is stopping';
    if (this.#retired) return 'this store was removed from its slot';
    if (this.#renaming > 0) return 'the store takes a new actor';
    if (!this.#options.policies.coordinates(this.#synchronised && this.#confirmed)) {
      return this.#confirmed ? 'the store is not synchronised' : 'the store waits for what its peers remember of it';
    }
    if (this.#aheadMs() > 0) return 'the hybrid time is ahead of the wall clock';
    return undefined;
  }

  /** One sentence for each reason. */
  reasons(): string[] {
    const reasons: string[] = [];
    if (this.#retired) reasons.push('this store was removed from its slot and never serves again');
    if (this.#options.file.failing) reasons.push('the identity file cannot be written');
    if (!this.#confirmed) reasons.push('waiting for what the peers remember of this store');
    if (!this.#synchronised) reasons.push('the store is not synchronised');
    const aheadMs = this.#aheadMs();
    if (aheadMs > 0) reasons.push(`the wall clock is ${String(aheadMs)} ms behind the times that this store has given`);
    return reasons;
  }

  /** A peer has said in its handshake what it remembers; `undefined`: nothing, or of another store. */
  hear(member: string, memory: PeerMemory | undefined): void {
    if (memory !== undefined) {
      const verdict = continuity(this.#atBoot, memory);
      if (verdict.kind === 'rewound') this.#rewind(member, verdict.why, memory);
    }
    this.#heard.add(this.#options.members.indexOf(member));
    this.#confirmIfHeard();
  }

  /** The generations of a peer's partitions are known, and whether they show that this store's disk is an old one. */
  met(): void {
    this.#met = true;
    this.#confirmIfHeard();
  }

  #confirmIfHeard(): void {
    if (this.#met && this.#heard.size === this.#options.members.names.length - 1 && !this.#confirmed) this.#confirm();
  }

  /** Something other than a peer's memory shows that this store's disk is an old one. */
  foundRewound(peer: string, why: string): void {
    const { storeId, boot, lease, actorEpoch } = this.#options.file.current;
    this.#rewind(peer, why, { storeId, boot, lease, actorEpoch });
  }

  #rewind(peer: string, why: string, memory: PeerMemory): void {
    const { file, policies, warn, rewound } = this.#options;
    warn('store-rewound', { peer, why, seenBoot: bootSequence(memory.boot) });
    rewound();
    this.#synchronised = false;
    const draw = this.#draw();
    // The state in memory moves on at once, so that the next peer with the same memory finds nothing amiss.
    this.#rename((identity) => {
      const after = afterRewind(identity, memory, draw);
      const before = { actorEpoch: identity.actorEpoch, counter: 0 };
      return { ...after, actorEpoch: policies.bootActor({ actorEpoch: after.actorEpoch, counter: 0 }, before).actorEpoch };
    });
    this.#atBoot = file.current;
  }

  /** This store is known to have been replaced: by a peer's refusal, or its notice. */
  retire(why: string): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#options.warn('store-removed', { why });
    this.#change((identity) => ({ ...identity, retired: true }));
  }

  /**
   * What this store held was lost in part: a dot that it minted may be among it, and the next one of the same actor would claim it. Resolves when the
   * new actor is durable, and in use.
   */
  takeNewActor(): Promise<void> {
    const draw = this.#draw();
    return new Promise((resolve) => {
      this.#rename((identity) => ({ ...identity, ...newActor(identity, draw.actorEpoch), lease: identity.lease + 1 }), resolve);
    });
  }

  /** The copy is complete. Resolves when that is durable and in force. */
  async becomeSynchronised(): Promise<void> {
    const before = this.#atBoot;
    await this.#options.file.change((identity) => ({ ...identity, synchronised: true, behind: false, progress: { sources: {} } }));
    // A rewind found meanwhile has undone it.
    if (before === this.#atBoot) this.#synchronised = true;
    this.#options.changed();
  }

  #confirm(): void {
    this.#grace?.cancel();
    this.#confirmed = true;
    this.#options.changed();
  }

  #confirmUnheard(): void {
    if (this.#confirmed || this.#ended) return;
    if (this.#options.refusedBy() !== undefined) {
      this.#wait();
      return;
    }
    if (this.#options.keptActor) {
      const draw = this.#draw();
      this.#rename((identity) => ({ ...identity, ...newActor(identity, draw.actorEpoch), lease: identity.lease + 1 }));
    }
    this.#confirm();
  }

  /** Gives up the actor now, and takes the new one when it is durable. */
  #rename(change: (identity: StoreIdentity) => StoreIdentity, then?: () => void): void {
    const { leases, changed } = this.#options;
    this.#renaming += 1;
    leases.abandonActor();
    this.#change(change, () => {
      this.#renaming -= 1;
      if (this.#renaming === 0) leases.adoptActor();
      changed();
      then?.();
    });
  }

  #change(change: (identity: StoreIdentity) => StoreIdentity, then?: () => void): void {
    const { file, clock, warn } = this.#options;
    file.change(change).then(then, (error: unknown) => {
      warn('identity-not-written', { error: String(error) });
      if (this.#ended) return;
      // The change stands in memory; only its way to the disk is tried again.
      clock.after(RETRY_MS, () => {
        this.#change((identity) => identity, then);
      });
    });
  }

  #draw(): BootDraw {
    return { nonce: this.#options.random.u32(), actorEpoch: this.#options.random.u32() };
  }
}
