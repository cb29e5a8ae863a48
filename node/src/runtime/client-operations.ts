/**
 * The operations of clients at the node that received them: checked, admitted, placed, and handed to a read or a write operation.
 *
 * Invariants: nothing is done for a request that fails its checks; at most `limits.operations` are under way, further ones are refused with BUSY
 * before any effect; whatever is answered or thrown within the call costs no promise.
 */

import type { ByteString } from '../base/bytes.ts';
import { toHex } from '../base/bytes.ts';
import { asCoterieError, CoterieError } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import type { BucketDefinition } from '../cluster/ring/topology.ts';
import { primaries } from '../cluster/ring/preference.ts';
import { keyOfDiskKey, type PlacedKey, placeKey } from '../cluster/ring/token.ts';
import { readQuorum, writeQuorum } from '../cluster/quorum/legality.ts';
import type { Content } from '../cluster/quorum/read.ts';
import { readDigest } from '../cluster/versioning/codec.ts';
import { Pending } from '../storage/engine.ts';
import type { CoordinateKind } from '../transport/messages/coordinate.ts';
import { Answer, type Sink } from './answer.ts';
import { CHECKSUM, type NodeCore } from './core.ts';
import type {
  ExpireResult,
  LocalCopy,
  Maybe,
  PutExpiry,
  ReadOptions,
  ReadResult,
  ScanOptions,
  ScanResult,
  WriteOptions,
  WriteResult,
} from './kv.ts';
import { cursorOfToken, TOKEN_BYTES, tokenOfCursor } from './listing.ts';
import { NEVER_WRITTEN, ObjectRead, versionsIn } from './read-result.ts';
import { ReadOperation } from './read-operation.ts';
import { checkCount, checkExpiry, checkKey, checkPair, timeoutOf } from './request-checks.ts';
import { scanPage } from './scan-operation.ts';
import { operationIdOf, type WriteAnswer, type WriteCommand } from './write-command.ts';
import { WriteRouter } from './write-router.ts';

const NO_BYTES = new Uint8Array(0);
const COUNT_PAGE = 4096;
const FIRST_TOKEN = '\0'.repeat(TOKEN_BYTES);
/** Rounds of one SCAN call that find too few keys. */
const MOST_ROUNDS = 16;
const BUSY_RETRY_MS = 50;

/** Turns the content that a read ends with into the client's answer. */
class ReadSink implements Sink<Content> {
  readonly answer: Answer<ReadResult>;
  readonly #core: NodeCore;
  readonly #bucket: BucketDefinition;
  readonly #key: ByteString;

  constructor(core: NodeCore, bucket: BucketDefinition, key: ByteString, ended: () => void) {
    this.#core = core;
    this.#bucket = bucket;
    this.#key = key;
    this.answer = new Answer(ended);
  }

  succeed({ bytes }: Content): void {
    if (bytes === undefined) {
      this.answer.succeed(NEVER_WRITTEN);
      return;
    }
    try {
      const { topology, clock } = this.#core;
      this.answer.succeed(new ObjectRead(bytes, topology, this.#bucket, this.#key, clock.wallMs(), CHECKSUM));
    } catch (error) {
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') throw error;
      this.fail(coded);
    }
  }

  fail(error: CoterieError): void {
    const { counts } = this.#core.metrics;
    counts.readsFailed.add();
    if (error.code === 'TIMEOUT') counts.timeouts.add();
    if (error.code === 'NO_QUORUM') counts.noQuorum.add();
    this.answer.fail(error);
  }
}

export class ClientOperations {
  readonly #core: NodeCore;
  readonly #buckets: ReadonlyMap<string, BucketDefinition>;
  readonly #placed: PlacedKey = { diskKey: '', partition: 0 as PartitionId };
  readonly #ended = (): void => {
    this.#underWay -= 1;
    if (this.#underWay === 0) this.#idle?.();
  };
  #underWay = 0;
  #stopping = false;
  #idle: (() => void) | undefined;

  constructor(core: NodeCore) {
    this.#core = core;
    this.#buckets = new Map(core.topology.buckets.map((bucket) => [bucket.name, bucket]));
  }

  get underWay(): number {
    return this.#underWay;
  }

  /** Refuses what comes from now on. `idle` runs when nothing is under way any more, perhaps at once. */
  stop(idle: () => void): void {
    this.#stopping = true;
    this.#idle = idle;
    if (this.#underWay === 0) idle();
  }

  bucket(name: string): BucketDefinition | undefined {
    return this.#buckets.get(name);
  }

  get(bucketName: string, key: ByteString, options: ReadOptions): Maybe<ReadResult> {
    const { topology, limits, metrics, clock, members, standing, pace } = this.#core;
    const bucket = this.#bucketOf(bucketName);
    checkKey(key, limits);
    const r = readQuorum(bucket, topology.N, options.r, options.quorum);
    const timeoutMs = timeoutOf(options.timeoutMs, limits);
    this.#admit();
    metrics.counts.reads.add();
    const { diskKey, partition } = placeKey(topology, bucket.id, key, this.#placed);
    const replicas = primaries(topology, partition);
    if (replicas.length === 1 && replicas[0] === members.self && standing.countsInReads()) {
      const at = this.#readAlone(bucket, key, diskKey);
      if (at !== undefined) return at;
    }
    const startMs = clock.monotonicMs();
    this.#underWay += 1;
    const sink = new ReadSink(this.#core, bucket, key, () => {
      const tookMs = clock.monotonicMs() - startMs;
      metrics.readMs.observe(tookMs);
      pace.observe(tookMs);
      this.#ended();
    });
    new ReadOperation(this.#core, { diskKey, replicas, r, timeoutMs }, sink).start();
    return sink.answer.take();
  }

  put(bucketName: string, key: ByteString, value: Uint8Array, expiry: PutExpiry, options: WriteOptions): Maybe<WriteResult> {
    const { expireAtMs = 0, keepTtl = false } = expiry;
    checkExpiry(expireAtMs);
    return this.#write('put', bucketName, key, value, expireAtMs, keepTtl, options);
  }

  delete(bucketName: string, key: ByteString, options: WriteOptions): Maybe<WriteResult> {
    return this.#write('delete', bucketName, key, NO_BYTES, 0, false, options);
  }

  expire(bucketName: string, key: ByteString, atMs: number, options: WriteOptions): Maybe<ExpireResult> {
    checkExpiry(atMs);
    return this.#write('expire', bucketName, key, NO_BYTES, atMs, false, options);
  }

  async scan(bucketName: string, cursor: string, count: number, options: ScanOptions): Promise<ScanResult> {
    const bucket = this.#bucketOf(bucketName);
    checkCount(count);
    const from = tokenOfCursor(cursor);
    if (from === undefined) throw new CoterieError('REQUEST_INVALID', 'a cursor is one that an earlier answer gave, or 0 to start');
    readQuorum(bucket, this.#core.topology.N, undefined, undefined);
    this.#admit();
    this.#underWay += 1;
    try {
      this.#core.metrics.counts.scans.add();
      const startMs = this.#core.clock.monotonicMs();
      const keys: ByteString[] = [];
      let at = from;
      for (let round = 1; ; round += 1) {
        const page = await this.#page(bucket, at, count - keys.length, startMs, options);
        for (const key of page.keys) keys.push(keyOfDiskKey(key));
        if (page.next === '') return { cursor: '0', keys };
        at = page.next;
        if (keys.length >= count || round === MOST_ROUNDS) return { cursor: cursorOfToken(at), keys };
      }
    } finally {
      this.#ended();
    }
  }

  async count(bucketName: string, options: ScanOptions): Promise<number> {
    const bucket = this.#bucketOf(bucketName);
    readQuorum(bucket, this.#core.topology.N, undefined, undefined);
    this.#admit();
    this.#underWay += 1;
    try {
      const startMs = this.#core.clock.monotonicMs();
      let total = 0;
      for (let at = FIRST_TOKEN; at !== '';) {
        const page = await this.#page(bucket, at, COUNT_PAGE, startMs, options);
        total += page.keys.length;
        at = page.next;
      }
      return total;
    } finally {
      this.#ended();
    }
  }

  async local(bucketName: string, key: ByteString): Promise<LocalCopy> {
    const { topology, store, limits, clock } = this.#core;
    const bucket = this.#bucketOf(bucketName);
    checkKey(key, limits);
    const { diskKey } = placeKey(topology, bucket.id, key);
    const entry = await store.engine.get(diskKey);
    if (entry === undefined) return { versions: [], digest: undefined, bytes: undefined };
    const bytes = new Uint8Array(entry.value);
    return { versions: versionsIn(bytes, clock.wallMs(), CHECKSUM), digest: toHex(readDigest(bytes)), bytes };
  }

  /** The only replica is here: the answer needs nobody else, unless the disk must be read. */
  #readAlone(bucket: BucketDefinition, key: ByteString, diskKey: ByteString): ReadResult | undefined {
    const { topology, store, clock, metrics } = this.#core;
    const startMs = clock.monotonicMs();
    try {
      const entry = store.tryGet(diskKey);
      if (entry instanceof Pending) return undefined;
      const result = entry === undefined ? NEVER_WRITTEN : new ObjectRead(entry.value, topology, bucket, key, clock.wallMs(), CHECKSUM);
      metrics.readMs.observe(clock.monotonicMs() - startMs);
      return result;
    } catch (error) {
      metrics.counts.readsFailed.add();
      if (asCoterieError(error).code === 'DATA_DAMAGED') metrics.counts.damagedReads.add();
      throw error;
    }
  }

  #write(
    kind: CoordinateKind,
    bucketName: string,
    key: ByteString,
    value: Uint8Array,
    expireAtMs: number,
    keepTtl: boolean,
    options: WriteOptions,
  ): Maybe<WriteAnswer> {
    const { topology, limits, metrics, clock, pace } = this.#core;
    const bucket = this.#bucketOf(bucketName);
    checkKey(key, limits);
    checkPair(key, value, limits);
    const w = writeQuorum(bucket, topology.N, options.w, options.quorum);
    const timeoutMs = timeoutOf(options.timeoutMs, limits);
    const operationId = operationIdOf(options.operationId);
    // On the wire an empty context means none, and none means a blind write.
    if (options.context?.length === 0) throw new CoterieError('CONTEXT_BROKEN', 'broken context: it is empty', { outcome: 'none' });
    this.#admit();
    metrics.counts.writes.add();
    const { diskKey, partition } = placeKey(topology, bucket.id, key, this.#placed);
    const replicas = primaries(topology, partition);
    const { context } = options;
    const command: WriteCommand = { bucket, key, diskKey, replicas, kind, value, expireAtMs, keepTtl, w, context, operationId, timeoutMs };
    const startMs = clock.monotonicMs();
    this.#underWay += 1;
    const answer = new Answer<WriteAnswer>(() => {
      const tookMs = clock.monotonicMs() - startMs;
      metrics.writeMs.observe(tookMs);
      pace.observe(tookMs);
      this.#ended();
    });
    new WriteRouter(this.#core, command, this.#counting(answer)).start();
    return answer.take();
  }

  #counting(answer: Answer<WriteAnswer>): Sink<WriteAnswer> {
    const { counts } = this.#core.metrics;
    return {
      succeed: (value) => {
        answer.succeed(value);
      },
      fail: (error) => {
        counts.writesFailed.add();
        if (error.code === 'TIMEOUT') counts.timeouts.add();
        if (error.code === 'NO_QUORUM') counts.noQuorum.add();
        if (error.code === 'BUSY') counts.busy.add();
        answer.fail(error);
      },
    };
  }

  async #page(
    bucket: BucketDefinition,
    from: ByteString,
    count: number,
    startMs: number,
    options: ScanOptions,
  ): Promise<{ readonly keys: readonly ByteString[]; readonly next: ByteString }> {
    const { clock, limits } = this.#core;
    const remaining = Math.floor(startMs + timeoutOf(options.timeoutMs, limits) - clock.monotonicMs());
    if (remaining < 1) throw new CoterieError('TIMEOUT', 'the keys could not be listed in time');
    return scanPage(this.#core, {
      bucket,
      from,
      count: Math.max(1, count),
      timeoutMs: remaining,
      isLive: async (key) => (await this.get(bucket.name, key, { timeoutMs: remaining })).versions.length > 0,
    });
  }

  #bucketOf(name: string): BucketDefinition {
    const bucket = this.#buckets.get(name);
    if (bucket !== undefined) return bucket;
    throw new CoterieError('BUCKET_UNKNOWN', `there is no bucket ${JSON.stringify(name.slice(0, 64))}`, { outcome: 'none' });
  }

  #admit(): void {
    if (this.#stopping) throw new CoterieError('CLOSED', 'the node is stopping', { outcome: 'none' });
    if (this.#underWay < this.#core.limits.operations) return;
    this.#core.metrics.counts.busy.add();
    throw new CoterieError('BUSY', 'too many operations are under way on this node', { outcome: 'none', retryAfterMs: BUSY_RETRY_MS });
  }
}
