/**
 * What the clients of a run did and were told: the only thing the checkers of client-visible promises look at.
 *
 * Times are virtual microseconds of the world, which no node knows. A write keeps one number whatever the number of attempts; the number is
 * inside the value (see value.ts), so that an answer tells which write it shows.
 */

/** `none`: certainly without effect. `unknown`: it may have happened, or may still happen. */
export type WriteOutcome = 'pending' | 'acknowledged' | 'none' | 'unknown';

export interface WriteRecord {
  readonly number: number;
  readonly key: string;
  readonly kind: 'put' | 'delete';
  /** Written without a context: it replaces whatever its coordinator sees. */
  readonly blind: boolean;
  /** For writes with a context: the writes that the context is known to cover directly. */
  readonly covers: readonly number[];
  /** The durable copies asked for. */
  readonly w: number;
  /** Whether fallbacks may have been among them. */
  readonly sloppy: boolean;
  /** Whether every attempt carries the same operation id. */
  readonly operation: boolean;
  /** Every expiry that the value was given by this write: milliseconds, 0 = never. Empty: it kept the one the key had. */
  readonly expiries: readonly number[];
  readonly startUs: number;
  attempts: number;
  /** Tried again without an operation id after an attempt whose outcome is unknown: it may have happened more than once. */
  mayRepeat: boolean;
  /** Tried again after an attempt whose outcome is unknown. */
  retried: boolean;
  outcome: WriteOutcome;
  /** When the first acknowledgement arrived. */
  acknowledgedUs: number;
  /** From when on it can no longer take effect; infinite when nobody knows. */
  settledUs: number;
  /** By R: when a read with that R of primaries first finished that showed it. */
  readonly shownUs: Map<number, number>;
}

/** A change of the expiry alone. */
export interface ExpiryRecord {
  readonly key: string;
  /** 0: made to persist. */
  readonly atMs: number;
  readonly startUs: number;
  outcome: WriteOutcome;
}

export interface SeenVersion {
  /** The write that the value belongs to; `undefined` when the bytes are no value that any client wrote to this key. */
  readonly number: number | undefined;
  readonly expireAtMs: number;
  /** What the bytes look like, for the report. */
  readonly shows: string;
}

export interface ReadRecord {
  readonly key: string;
  readonly node: string;
  readonly r: number;
  /** Whether fallbacks may have been among those that answered. */
  readonly sloppy: boolean;
  readonly startUs: number;
  readonly endUs: number;
  /** The answering node's wall clock when it began: what expiry is judged by. */
  readonly wallMs: number;
  readonly versions: readonly SeenVersion[];
}

/** What the run's plan allows for, as the checkers need it. */
export interface HistoryTerms {
  readonly n: number;
  /** The smallest W that the promises hold for in this run (see faults/plan.ts). */
  readonly coveredW: number;
  /** The most that two nodes' times ever differed in the run, in microseconds. */
  skewUs: number;
  /** No fault was injected at all. */
  readonly faultless: boolean;
  /** Whether an acknowledged write is on W disks at once (`fsync: always`), so that any R with R + W > N sees it. */
  readonly overlapHolds: boolean;
  /** No process has died: what a replica answered it still has, synced or not. */
  readsStick: boolean;
}

export class History {
  readonly writes: WriteRecord[] = [];
  readonly expiries: ExpiryRecord[] = [];
  readonly terms: HistoryTerms;
  readonly #byKey = new Map<string, WriteRecord[]>();
  readonly #expiriesByKey = new Map<string, ExpiryRecord[]>();

  constructor(terms: HistoryTerms) {
    this.terms = terms;
  }

  /**
   * A process has died, or will by the plan. Also where no fault is deadly: a node that cannot write its identity to a full disk is restarted.
   *
   * @param leaseUs how far the hybrid time of its next life may be ahead of its clock
   */
  died(leaseUs: number): void {
    if (!this.terms.readsStick) return;
    this.terms.readsStick = false;
    this.terms.skewUs += leaseUs;
  }

  get keys(): readonly string[] {
    return [...this.#byKey.keys()];
  }

  write(number: number): WriteRecord | undefined {
    return this.writes[number];
  }

  writesOf(key: string): readonly WriteRecord[] {
    return this.#byKey.get(key) ?? [];
  }

  expiriesOf(key: string): readonly ExpiryRecord[] {
    return this.#expiriesByKey.get(key) ?? [];
  }

  /** Begins a write; its number is its place in `writes`. */
  begin(
    write: Omit<WriteRecord, 'number' | 'attempts' | 'mayRepeat' | 'retried' | 'outcome' | 'acknowledgedUs' | 'settledUs' | 'shownUs'>,
  ): WriteRecord {
    const record: WriteRecord = {
      ...write,
      number: this.writes.length,
      attempts: 0,
      mayRepeat: false,
      retried: false,
      outcome: 'pending',
      acknowledgedUs: Infinity,
      settledUs: Infinity,
      shownUs: new Map(),
    };
    this.writes.push(record);
    const list = this.#byKey.get(write.key);
    if (list === undefined) this.#byKey.set(write.key, [record]);
    else list.push(record);
    return record;
  }

  /** Takes note of what a read has shown. */
  show(read: ReadRecord): void {
    if (read.sloppy) return;
    for (const { number } of read.versions) {
      const shownUs = number === undefined ? undefined : this.write(number)?.shownUs;
      if (shownUs !== undefined && !shownUs.has(read.r)) shownUs.set(read.r, read.endUs);
    }
  }

  beginExpiry(key: string, atMs: number, startUs: number): ExpiryRecord {
    const record: ExpiryRecord = { key, atMs, startUs, outcome: 'pending' };
    this.expiries.push(record);
    const list = this.#expiriesByKey.get(key);
    if (list === undefined) this.#expiriesByKey.set(key, [record]);
    else list.push(record);
    return record;
  }
}
