/**
 * A node: joins cluster, storage and transport over an injected environment. `open` reads the disk, `start` meets the peers, `stop` ends in order.
 *
 * For the simulator: everything outside comes through `NodeOptions.env`; the decisions that mutants replace are `NodeOptions.policies`; a node
 * that is abandoned without `stop` (a crash) leaves nothing behind but its directory; `local` reads one replica's copy.
 */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, CoterieError } from '../base/errors.ts';
import { bootSequence, endCleanly } from '../cluster/membership/boot.ts';
import type { Listener } from '../env/network.ts';
import { SILENT } from '../telemetry/logger.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import { decodeCopyQuestion, decodeListQuestion, encodeCopyAnswer, encodeListAnswer } from '../transport/messages/ranges.ts';
import type { IncomingRequest } from '../transport/request.ts';
import { ClientOperations } from './client-operations.ts';
import { copyPage } from './copy-source.ts';
import type { Sink } from './answer.ts';
import { openParts, type Parts } from './parts.ts';
import { Detection } from './detection.ts';
import type {
  Bucket,
  ClusterView,
  ExpireResult,
  KvLimits,
  KvNode,
  LocalCopy,
  Maybe,
  NodeStats,
  PutExpiry,
  ReadOptions,
  ReadResult,
  Readiness,
  RepairRequest,
  RepairView,
  RingView,
  ScanOptions,
  ScanResult,
  WriteOptions,
  WriteResult,
} from './kv.ts';
import { listOwn } from './listing.ts';
import { type CountName, observeMembers } from './node-metrics.ts';
import { DEFAULT_TIMINGS, type NodeOptions } from './options.ts';
import { Replica } from './replica.ts';
import { StrongReplica } from './strong-replica.ts';
import { bucketView, clusterView, ringView } from './views.ts';

const GRACE_MS = 10_000;
/** Lives of the failure detector within one boot of the store: one, and one more for each time that it is refuted. */
const INCARNATIONS = 2 ** 16;

export class CoterieNode implements KvNode {
  readonly limits: KvLimits;
  readonly #parts: Parts;
  readonly #operations: ClientOperations;
  readonly #detection: Detection;
  readonly #openedMs: number;
  #listener: Listener | undefined;
  #stopped: Promise<void> | undefined;

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.limits = { keyBytes: parts.core.limits.keyBytes, pairBytes: parts.core.limits.pairBytes };
    this.#operations = new ClientOperations(parts.core);
    const { options, core, file } = parts;
    this.#detection = new Detection({
      ...core,
      log: options.log ?? SILENT,
      random: options.env.random,
      incarnation: bootSequence(file.current.boot) * INCARNATIONS,
      store: file.current.storeId,
      load: () => parts.core.admission.underWay,
    });
    if (options.metrics !== undefined) observeMembers(options.metrics, core.members, this.#detection);
    this.#openedMs = parts.core.clock.monotonicMs();
  }

  /**
   * Takes the directory, and makes this boot durable.
   *
   * @throws CoterieError DATA_DIR_IN_USE, DATA_DIR_FOREIGN, DATA_DIR_NEWER, DATA_DAMAGED, PEER_REMOVED, SETTING_INVALID, DISK_FULL, DISK_FAILED
   */
  static async open(options: NodeOptions): Promise<CoterieNode> {
    return new CoterieNode(await openParts(options));
  }

  bucket(name: string): Bucket | undefined {
    const bucket = this.#operations.bucket(name);
    return bucket === undefined ? undefined : bucketView(bucket);
  }

  get(bucket: string, key: ByteString, options: ReadOptions): Maybe<ReadResult> {
    return this.#operations.get(bucket, key, options);
  }

  put(bucket: string, key: ByteString, value: Uint8Array, expiry: PutExpiry, options: WriteOptions): Maybe<WriteResult> {
    return this.#operations.put(bucket, key, value, expiry, options);
  }

  getInto(sink: Sink<ReadResult>, bucket: string, key: ByteString, options: ReadOptions): void {
    this.#operations.getInto(sink, bucket, key, options);
  }

  putInto(sink: Sink<WriteResult>, bucket: string, key: ByteString, value: Uint8Array, expiry: PutExpiry, options: WriteOptions): void {
    this.#operations.putInto(sink, bucket, key, value, expiry, options);
  }

  delete(bucket: string, key: ByteString, options: WriteOptions): Maybe<WriteResult> {
    return this.#operations.delete(bucket, key, options);
  }

  expire(bucket: string, key: ByteString, atMs: number, options: WriteOptions): Maybe<ExpireResult> {
    return this.#operations.expire(bucket, key, atMs, options);
  }

  scan(bucket: string, cursor: string, count: number, options: ScanOptions): Promise<ScanResult> {
    return this.#operations.scan(bucket, cursor, count, options);
  }

  count(bucket: string, options: ScanOptions): Promise<number> {
    return this.#operations.count(bucket, options);
  }

  refusal(): CoterieError | undefined {
    return this.#parts.core.admission.refusal();
  }

  local(bucket: string, key: ByteString): Promise<LocalCopy> {
    return this.#operations.local(bucket, key);
  }

  cluster(): ClusterView {
    const { core, file, hinting, collector } = this.#parts;
    const waitingFor = (member: string): ClusterView['members'][number]['waiting'] => hinting.waitingFor(member);
    return clusterView(core.topology, core.members, file.current, this.#detection, waitingFor, collector.view());
  }

  ring(): RingView {
    return ringView(this.#parts.core.topology);
  }

  repair({ first = 0, last, scrub = false }: RepairRequest): void {
    const { core, repair } = this.#parts;
    if (repair === undefined) {
      throw new CoterieError('REQUEST_INVALID', 'every key has one replica: there is nothing to compare it with', { outcome: 'none' });
    }
    repair.request(first, last ?? core.topology.Q - 1, scrub);
  }

  repairs(): RepairView | undefined {
    return this.#parts.repair?.view();
  }

  ready(): Readiness {
    const { core, policy } = this.#parts;
    const reasons: string[] = [];
    if (this.#listener === undefined) reasons.push('the node has not started');
    if (this.#stopped !== undefined) reasons.push('the node is stopping');
    reasons.push(...core.standing.reasons());
    const { synchronised, partitionsDone, partitionsTotal, waitingFor } = this.#parts.synchroniser.view();
    if (!synchronised) {
      const wait = waitingFor === undefined ? '' : `, waiting for ${waitingFor}`;
      reasons.push(`copied ${String(partitionsDone)} of ${String(partitionsTotal)} partitions${wait}`);
    }
    const refusing = policy.refusedBy(core.transport);
    if (refusing !== undefined) reasons.push(`${refusing.name} refuses this store: ${refusing.failure?.message ?? ''}`);
    const { state } = core.store.engine.stats();
    if (state === 'failed') reasons.push('the storage engine has failed and takes no writes until a restart');
    if (this.#parts.hinting.failed) reasons.push('the hint store has failed and takes no hints until a restart');
    return { ready: reasons.length === 0, reasons };
  }

  stats(): NodeStats {
    const { core, file } = this.#parts;
    const names = Object.keys(core.metrics.counts) as CountName[];
    const { storeId, boot, actorEpoch } = file.current;
    return {
      storeId,
      boot: bootSequence(boot),
      actorEpoch,
      uptimeMs: Math.floor(core.clock.monotonicMs() - this.#openedMs),
      operationsInFlight: core.admission.underWay,
      operationsWaiting: core.admission.waiting,
      operationsLimit: core.admission.limit,
      doubt: this.#detection.doubt,
      counters: Object.fromEntries(names.map((name) => [name, core.metrics.counts[name].value()])),
      synchronisation: this.#parts.synchroniser.view(),
      hints: this.#parts.hinting.stats(),
      engine: { ...core.store.engine.stats() },
    };
  }

  nowMs(): number {
    return this.#parts.core.clock.wallMs();
  }

  async start(): Promise<void> {
    const { core, policy, options } = this.#parts;
    const { transport, topology, members, standing } = core;
    const replica = new Replica(core);
    replica.serve();
    new StrongReplica(core, replica).serve();
    policy.serve(transport);
    transport.handle(MESSAGE.list, (request) => {
      const question = decodeListQuestion(request.payload);
      answerLater(request, listOwn(core, question).then(encodeListAnswer));
    });
    transport.handle(MESSAGE.copy, (request) => {
      const question = decodeCopyQuestion(request.payload);
      answerLater(request, copyPage(core, members.indexOf(request.peer), question).then(encodeCopyAnswer));
    });
    transport.onPeerChange(({ name, state }) => {
      members.setReachable(name, state === 'connected');
      if (state !== 'connected') return;
      policy.tell(transport, name);
      this.#parts.synchroniser.advance();
    });
    const own = topology.members[members.self]?.address;
    const address = options.listen ?? { host: own?.host ?? '127.0.0.1', port: own?.peerPort ?? 0 };
    if (members.names.length > 1) this.#listener = await transport.listen(address);
    else this.#listener = NOWHERE;
    transport.setPeers(
      topology.members
        .filter((_, index) => index !== members.self)
        .map(({ name, address: { host, peerPort } }) => ({ name, address: { host, port: peerPort } })),
    );
    this.#detection.begin();
    this.#parts.collector.begin();
    standing.begin();
    this.#parts.hinting.begin(core, { ...DEFAULT_TIMINGS, ...options.timings });
    this.#parts.synchroniser.advance();
    this.#parts.repair?.begin();
  }

  /** Where peers reach this node; undefined before `start`, and for a node without peers. */
  get peerAddress(): { readonly host: string; readonly port: number } | undefined {
    return this.#listener === NOWHERE ? undefined : this.#listener?.address;
  }

  stop(graceMs: number = GRACE_MS): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  async #stop(graceMs: number): Promise<void> {
    const { core, file, lock, trees } = this.#parts;
    await new Promise<void>((resolve) => {
      const timer = core.clock.after(graceMs, resolve);
      core.admission.stop(() => {
        timer.cancel();
        resolve();
      });
    });
    this.#parts.collector.stop();
    this.#parts.reclaimer.stop();
    core.standing.end();
    this.#detection.stop();
    this.#parts.synchroniser.stop();
    trees?.stop();
    this.#parts.repair?.stop();
    this.#parts.hinting.stop();
    this.#parts.policy.stop();
    // What is still under way has had its time.
    core.wheel.close();
    await this.#listener?.close();
    await core.transport.close();
    const durable = await core.store.engine.close();
    if (durable) await trees?.close(core.store.engine);
    const hintsDurable = await this.#parts.hinting.close();
    const { counterUsed, latestMs } = core.leases;
    // What may have lost something that it was given has not stopped in order.
    if (durable && hintsDurable) {
      await file
        .change((identity) => endCleanly(identity, counterUsed, latestMs))
        .catch((error: unknown) => {
          // Nothing is lost: the next start is an unclean one.
          core.warn('stop-not-recorded', { reason: asCoterieError(error).message });
        });
    }
    await lock.release();
  }
}

const NOWHERE: Listener = { address: { host: '', port: 0 }, close: () => Promise.resolve() };

/** Answers a peer's request with the bytes to come; what fails with a code is passed on, anything else is a bug. */
function answerLater(request: IncomingRequest, answer: Promise<Uint8Array>): void {
  answer.then(
    (payload) => {
      request.reply(payload);
    },
    (error: unknown) => {
      const coded = asCoterieError(error);
      request.fail(coded.code, coded.message, 'none');
    },
  );
}
