/**
 * The operations of clients at the node that received them: checked, admitted, placed, and handed to a read or a write operation.
 *
 * Invariants: nothing is done for a request that fails its checks or is not admitted (admission.ts); what waits for its beginning owns its bytes;
 * whatever is answered or thrown within the call costs no promise.
 */

import type { ByteString } from '../base/bytes.ts';
import { toHex } from '../base/bytes.ts';
import { asCoterieError, CoterieError } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import type { BucketDefinition } from '../cluster/ring/topology.ts';
import { primaries } from '../cluster/ring/preference.ts';
import { keyOfDiskKey, type PlacedKey, placeKey } from '../cluster/ring/token.ts';
import { quorumKind, readQuorum, writeQuorum } from '../cluster/quorum/legality.ts';
import { expireRefusal, refuseWeakening, strongReadQuorum, strongWriteQuorum } from '../cluster/quorum/strong-legality.ts';
import { readDigest } from '../cluster/versioning/codec.ts';
import { readTag } from '../cluster/versioning/register-codec.ts';
import { NO_TAG } from '../cluster/versioning/tag.ts';
import { Pending } from '../storage/engine.ts';
import type { CoordinateKind } from '../transport/messages/coordinate.ts';
import { Answer, type Sink } from './answer.ts';
import { ReadSink, WriteSink } from './client-sinks.ts';
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
import { ReadOperation, type ReadQuestion } from './read-operation.ts';
import { checkCount, checkExpiry, checkKey, checkPair, timeoutOf } from './request-checks.ts';
import { scanPage } from './scan-operation.ts';
import { StrongReadOperation } from './strong-read-operation.ts';
import { StrongRouter } from './strong-router.ts';
import { operationIdOf, owned, type WriteAnswer, type WriteCommand } from './write-command.ts';
import { WriteRouter } from './write-router.ts';

const NO_BYTES = new Uint8Array(0);
const COUNT_PAGE = 4096;
const FIRST_TOKEN = '\0'.repeat(TOKEN_BYTES);
/** Rounds of one SCAN call that find too few keys. */
const MOST_ROUNDS = 16;

export class ClientOperations {
  readonly #core: NodeCore;
  readonly #buckets: ReadonlyMap<string, BucketDefinition>;
  /** The bucket that was asked for last. */
  #latest: BucketDefinition | undefined;
  readonly #placed: PlacedKey = { diskKey: '', partition: 0 as PartitionId };

  constructor(core: NodeCore) {
    this.#core = core;
    this.#buckets = new Map(core.topology.buckets.map((bucket) => [bucket.name, bucket]));
  }

  bucket(name: string): BucketDefinition | undefined {
    return this.#buckets.get(name);
  }

  get(bucketName: string, key: ByteString, options: ReadOptions): Maybe<ReadResult> {
    const answer = new Answer<ReadResult>();
    this.getInto(answer, bucketName, key, options);
    return answer.take();
  }

  getInto(sink: Sink<ReadResult>, bucketName: string, key: ByteString, options: ReadOptions): void {
    const { topology, limits, clock, admission, policies } = this.#core;
    const bucket = this.#bucketOf(bucketName);
    checkKey(key, limits);
    const strong = bucket.consistency === 'strong';
    const r = strong
      ? strongReadQuorum(bucket, topology.N, options.r, options.quorum, (asked, least) => policies.refusesBelow(asked, least))
      : readQuorum(bucket, topology.N, options.r);
    const sloppy = !strong && policies.countsFallbacks(quorumKind(options.quorum));
    const timeoutMs = timeoutOf(options.timeoutMs, limits);
    const startMs = clock.monotonicMs();
    admission.check(startMs);
    this.#read(sink, bucket, key, r, timeoutMs, startMs, sloppy, false);
  }

  /** @param inner part of an operation that has begun */
  #read(
    client: Sink<ReadResult>,
    bucket: BucketDefinition,
    key: ByteString,
    r: number,
    timeoutMs: number,
    startMs: number,
    sloppy: boolean,
    inner: boolean,
  ): void {
    const { topology, metrics, members, standing, admission } = this.#core;
    metrics.counts.reads.add();
    const { diskKey, partition } = placeKey(topology, bucket.id, key, this.#placed);
    const replicas = primaries(topology, partition);
    if (bucket.consistency !== 'strong' && replicas.length === 1 && replicas[0] === members.self && standing.countsInReads()) {
      const at = this.#readAlone(bucket, key, diskKey, startMs);
      if (at !== undefined) {
        client.succeed(at);
        return;
      }
    }
    const sink = new ReadSink(this.#core, startMs, inner || admission.enters(startMs), !inner, client, bucket, key);
    if (sink.begun) {
      this.#beginRead(bucket, { diskKey, replicas, r, timeoutMs, sloppy }, sink);
      return;
    }
    admission.wait({
      arrivedMs: startMs,
      deadlineMs: startMs + timeoutMs,
      begin: (leftMs) => {
        sink.begun = true;
        this.#beginRead(bucket, { diskKey, replicas, r, timeoutMs: leftMs, sloppy }, sink);
      },
      refused: (error) => {
        sink.fail(error);
      },
    });
  }

  #beginRead(bucket: BucketDefinition, question: ReadQuestion, sink: ReadSink): void {
    if (bucket.consistency === 'strong') {
      new StrongReadOperation(this.#core, { ...question, w: bucket.W }, sink).start();
    } else {
      new ReadOperation(this.#core, question, sink).start();
    }
  }

  #beginWrite(command: WriteCommand, sink: Sink<WriteAnswer>): void {
    if (command.bucket.consistency === 'strong') new StrongRouter(this.#core, command, sink).start();
    else new WriteRouter(this.#core, command, sink).start();
  }

  put(bucketName: string, key: ByteString, value: Uint8Array, expiry: PutExpiry, options: WriteOptions): Maybe<WriteResult> {
    const answer = new Answer<WriteAnswer>();
    this.putInto(answer, bucketName, key, value, expiry, options);
    return answer.take();
  }

  putInto(sink: Sink<WriteAnswer>, bucketName: string, key: ByteString, value: Uint8Array, expiry: PutExpiry, options: WriteOptions): void {
    const { expireAtMs = 0, keepTtl = false } = expiry;
    checkExpiry(expireAtMs);
    this.#write(sink, 'put', bucketName, key, value, expireAtMs, keepTtl, options);
  }

  delete(bucketName: string, key: ByteString, options: WriteOptions): Maybe<WriteResult> {
    const answer = new Answer<WriteAnswer>();
    this.#write(answer, 'delete', bucketName, key, NO_BYTES, 0, false, options);
    return answer.take();
  }

  expire(bucketName: string, key: ByteString, atMs: number, options: WriteOptions): Maybe<ExpireResult> {
    checkExpiry(atMs);
    const bucket = this.#bucketOf(bucketName);
    if (bucket.consistency === 'strong') throw expireRefusal(bucket);
    const answer = new Answer<WriteAnswer>();
    this.#write(answer, 'expire', bucketName, key, NO_BYTES, atMs, false, options);
    return answer.take();
  }

  async scan(bucketName: string, cursor: string, count: number, options: ScanOptions): Promise<ScanResult> {
    const bucket = this.#bucketOf(bucketName);
    checkCount(count);
    const from = tokenOfCursor(cursor);
    if (from === undefined) throw new CoterieError('REQUEST_INVALID', 'a cursor is one that an earlier answer gave, or 0 to start');
    readQuorum(bucket, this.#core.topology.N, undefined);
    await this.#enter(options);
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
      this.#core.admission.ended(this.#core.clock.monotonicMs(), undefined);
    }
  }

  async count(bucketName: string, options: ScanOptions): Promise<number> {
    const bucket = this.#bucketOf(bucketName);
    readQuorum(bucket, this.#core.topology.N, undefined);
    await this.#enter(options);
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
      this.#core.admission.ended(this.#core.clock.monotonicMs(), undefined);
    }
  }

  async local(bucketName: string, key: ByteString): Promise<LocalCopy> {
    const { topology, store, limits, clock } = this.#core;
    const bucket = this.#bucketOf(bucketName);
    checkKey(key, limits);
    const { diskKey } = placeKey(topology, bucket.id, key);
    const entry = await store.engine.get(diskKey);
    if (entry === undefined || store.isCollected(diskKey, entry)) return { versions: [], digest: undefined, bytes: undefined };
    const bytes = new Uint8Array(entry.value);
    // A register in which nothing was written yet holds only proposals: there is no copy of anything.
    if (bucket.consistency === 'strong' && readTag(bytes) === NO_TAG) return { versions: [], digest: undefined, bytes: undefined };
    return { versions: versionsIn(bytes, clock.wallMs(), CHECKSUM), digest: toHex(readDigest(bytes)), bytes };
  }

  /** The only replica is here: the answer needs nobody else, unless the disk must be read. */
  #readAlone(bucket: BucketDefinition, key: ByteString, diskKey: ByteString, startMs: number): ReadResult | undefined {
    const { topology, store, clock, metrics } = this.#core;
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
    client: Sink<WriteAnswer>,
    kind: CoordinateKind,
    bucketName: string,
    key: ByteString,
    value: Uint8Array,
    expireAtMs: number,
    keepTtl: boolean,
    options: WriteOptions,
  ): void {
    const { topology, limits, metrics, clock, admission, policies } = this.#core;
    const bucket = this.#bucketOf(bucketName);
    checkKey(key, limits);
    checkPair(key, value, limits);
    const strong = bucket.consistency === 'strong';
    const w = strong
      ? strongWriteQuorum(bucket, topology.N, options.w, options.quorum, (asked, least) => policies.refusesBelow(asked, least))
      : writeQuorum(bucket, topology.N, options.w);
    if (strong) refuseWeakening(bucket, { context: options.context !== undefined, expiry: keepTtl || expireAtMs !== 0 });
    const sloppy = !strong && policies.countsFallbacks(quorumKind(options.quorum));
    const timeoutMs = timeoutOf(options.timeoutMs, limits);
    const operationId = operationIdOf(options.operationId);
    // On the wire an empty context means none, and none means a blind write.
    if (options.context?.length === 0) throw new CoterieError('CONTEXT_BROKEN', 'broken context: it is empty', { outcome: 'none' });
    const startMs = clock.monotonicMs();
    admission.check(startMs);
    metrics.counts.writes.add();
    const { diskKey, partition } = placeKey(topology, bucket.id, key, this.#placed);
    const replicas = primaries(topology, partition);
    const { context } = options;
    const command: WriteCommand = {
      bucket,
      key,
      diskKey,
      replicas,
      kind,
      value,
      expireAtMs,
      keepTtl,
      w,
      context,
      operationId,
      dueMs: startMs + timeoutMs,
      sloppy,
    };
    const sink = new WriteSink(this.#core, startMs, admission.enters(startMs), client);
    if (sink.begun) {
      this.#beginWrite(command, sink);
      return;
    }
    const waiting = owned(command);
    admission.wait({
      arrivedMs: startMs,
      deadlineMs: command.dueMs,
      begin: () => {
        sink.begun = true;
        this.#beginWrite(waiting, sink);
      },
      refused: (error) => {
        sink.fail(error);
      },
    });
  }

  async #page(
    bucket: BucketDefinition,
    from: ByteString,
    count: number,
    startMs: number,
    options: ScanOptions,
  ): Promise<{ readonly keys: readonly ByteString[]; readonly next: ByteString }> {
    const { topology, clock, limits } = this.#core;
    const remaining = Math.floor(startMs + timeoutOf(options.timeoutMs, limits) - clock.monotonicMs());
    if (remaining < 1) throw new CoterieError('TIMEOUT', 'the keys could not be listed in time');
    const r = readQuorum(bucket, topology.N, undefined);
    return scanPage(this.#core, {
      bucket,
      from,
      count: Math.max(1, count),
      timeoutMs: remaining,
      // No operation of its own: it would wait for the one that waits for it.
      isLive: async (key) => {
        const answer = new Answer<ReadResult>();
        this.#read(answer, bucket, key, r, remaining, clock.monotonicMs(), false, true);
        return (await answer.take()).versions.length > 0;
      },
    });
  }

  #bucketOf(name: string): BucketDefinition {
    // Of a string that has just come in the map must first compute the hash, and look it up among all strings.
    if (this.#latest?.name === name) return this.#latest;
    const bucket = this.#buckets.get(name);
    if (bucket !== undefined) return (this.#latest = bucket);
    throw new CoterieError('BUCKET_UNKNOWN', `there is no bucket ${JSON.stringify(name.slice(0, 64))}`, { outcome: 'none' });
  }

  /** Begins a scan, now or when it is its turn. @throws CoterieError CLOSED, BUSY */
  async #enter(options: ScanOptions): Promise<void> {
    const { admission, clock, limits } = this.#core;
    const startMs = clock.monotonicMs();
    admission.check(startMs);
    if (admission.enters(startMs)) return;
    await new Promise<void>((resolve, reject) => {
      admission.wait({
        arrivedMs: startMs,
        deadlineMs: startMs + timeoutOf(options.timeoutMs, limits),
        begin: () => {
          resolve();
        },
        refused: reject,
      });
    });
  }
}
