/**
 * A node: joins cluster, storage and transport over an injected environment. `open` reads the disk, `start` meets the peers, `stop` ends in order.
 *
 * For the simulator: everything outside comes through `NodeOptions.env`; the decisions that mutants replace are `NodeOptions.policies`; a node
 * that is abandoned without `stop` (a crash) leaves nothing behind but its directory; `local` reads one replica's copy.
 */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, CoterieError } from '../base/errors.ts';
import { beginBoot, bootSequence, endCleanly } from '../cluster/membership/boot.ts';
import { AttemptIds } from '../cluster/versioning/attempt.ts';
import { primaries } from '../cluster/ring/preference.ts';
import { partitionOfDiskKey } from '../cluster/ring/token.ts';
import type { Listener } from '../env/network.ts';
import type { VfsLock } from '../env/vfs.ts';
import { Engine } from '../storage/engine.ts';
import { SILENT } from '../telemetry/logger.ts';
import { MetricRegistry } from '../telemetry/metrics.ts';
import { HotEncoder } from '../transport/messages/hot-encoder.ts';
import { MESSAGE, PROMPT } from '../transport/messages/message-type.ts';
import { decodeCopyQuestion, decodeListQuestion, encodeCopyAnswer, encodeListAnswer } from '../transport/messages/ranges.ts';
import type { IncomingRequest } from '../transport/request.ts';
import { limitsForPeers } from '../transport/limits.ts';
import { Transport } from '../transport/transport.ts';
import { Admission } from './admission.ts';
import { ClientOperations } from './client-operations.ts';
import { CollectionMember } from './collection/collection-member.ts';
import { watchCollection } from './collection/collection-metrics.ts';
import { Collector } from './collection/collector.ts';
import { openGenerations } from './collection/generations.ts';
import { Reclaimer } from './collection/reclaimer.ts';
import { copyPage } from './copy-source.ts';
import type { Sink } from './answer.ts';
import type { NodeCore } from './core.ts';
import { ForegroundPace } from './foreground-pace.ts';
import { Detection } from './detection.ts';
import { Hedging } from './hedging.ts';
import { WriteHedging } from './write-hedging.ts';
import { Hinting } from './hinting.ts';
import { IdentityFile } from './identity-file.ts';
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
import { Leases } from './leases.ts';
import { listOwn } from './listing.ts';
import { LocalStore } from './local-store.ts';
import { Members } from './members.ts';
import { type CountName, observeMembers, registerMetrics } from './node-metrics.ts';
import { DEFAULT_LIMITS, DEFAULT_TIMINGS, mostOperations, type NodeOptions } from './options.ts';
import { PeerPolicy } from './peer-policy.ts';
import { SHIPPED_POLICIES } from './policies.ts';
import { Registers } from './registers.ts';
import { LocalTrees } from './repair/local-trees.ts';
import { Repair } from './repair/repair.ts';
import { Replica } from './replica.ts';
import { Standing } from './standing.ts';
import { StrongReplica } from './strong-replica.ts';
import { dataDirectory, findIdentity, lockDirectory } from './store-directory.ts';
import { Synchroniser } from './synchroniser.ts';
import { TimerWheel } from './timer-wheel.ts';
import { bucketView, clusterView, ringView } from './views.ts';

/** How late a deadline may be. */
const TICK_MS = 4;
const GRACE_MS = 10_000;
/** Lives of the failure detector within one boot of the store: one, and one more for each time that it is refuted. */
const INCARNATIONS = 2 ** 16;
/** After so much of the interval between collecting rounds the space of what was collected is reclaimed. */
const RECLAIM_SHARE = 4;

interface Parts {
  readonly options: NodeOptions;
  readonly core: NodeCore;
  readonly file: IdentityFile;
  readonly policy: PeerPolicy;
  readonly lock: VfsLock;
  readonly trees: LocalTrees | undefined;
  readonly repair: Repair | undefined;
  readonly hinting: Hinting;
  readonly reclaimer: Reclaimer;
  readonly collector: Collector;
}

export class CoterieNode implements KvNode {
  readonly limits: KvLimits;
  readonly #parts: Parts;
  readonly #operations: ClientOperations;
  readonly #synchroniser: Synchroniser;
  readonly #detection: Detection;
  readonly #openedMs: number;
  #listener: Listener | undefined;
  #stopped: Promise<void> | undefined;

  private constructor(parts: Parts, synchroniser: Synchroniser) {
    this.#parts = parts;
    this.limits = { keyBytes: parts.core.limits.keyBytes, pairBytes: parts.core.limits.pairBytes };
    this.#operations = new ClientOperations(parts.core);
    this.#synchroniser = synchroniser;
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
    const { clock, random, network, vfs, executor } = options.env;
    const { topology, directory, name } = options;
    const timings = { ...DEFAULT_TIMINGS, ...options.timings };
    const log = options.log ?? SILENT;
    const warn: NodeCore['warn'] = (event, fields) => {
      log.log('warn', event, fields);
    };
    const policies = { ...SHIPPED_POLICIES, ...options.policies };
    const interval = options.engine?.fsync?.kind === 'interval';
    const firm = topology.buckets.find((bucket) => bucket.consistency === 'strong');
    if (interval && firm !== undefined) {
      throw new CoterieError(
        'SETTING_INVALID',
        `bucket ${firm.name} is strong, and so needs fsync: always; with fsync: interval, power lost at several nodes takes acknowledged writes along`,
      );
    }
    const members = new Members(topology, name);
    const lock = await lockDirectory(vfs, directory);
    try {
      const { identity: last, lost } = await findIdentity(options, (drawn) => policies.newStoreId(drawn, name));
      if (lost !== undefined) warn('data-lost', { store: lost });
      const draw = { nonce: random.u32(), actorEpoch: random.u32() };
      const mayForget = interval && topology.N > 1;
      const begun = beginBoot(last, draw, { nowMs: clock.wallMs(), timeLeaseMs: timings.timeLeaseMs, mayForget });
      const actor = policies.bootActor(
        { actorEpoch: begun.actorEpoch, counter: begun.counterUsed },
        { actorEpoch: last.actorEpoch, counter: last.counterUsed },
      );
      const file = new IdentityFile(vfs, directory, last);
      await file.change(() => ({ ...begun, actorEpoch: actor.actorEpoch }));
      const pace = new ForegroundPace(clock);
      const fresh = lost !== undefined || last.boot === 0;
      const generations = await openGenerations({ vfs, directory, partitions: topology.Q, admits: policies.admits }, fresh);
      // A key with one replica has nothing to be compared with.
      const trees =
        topology.N === 1
          ? undefined
          : new LocalTrees({
              topology,
              self: members.self,
              store: begun.storeId,
              vfs,
              directory,
              clock,
              pace,
              warn,
              damageShows: () => policies.damageShows(),
              generations,
            });
      const engine = await Engine.open({
        backgroundShare: () => pace.share(),
        ...options.engine,
        ...(trees === undefined ? {} : { follower: trees }),
        directory: dataDirectory(directory),
        vfs,
        executor,
        clock,
        log: (event) => {
          log.log(event.level, event.name, event.detail);
        },
      });
      await trees?.open(engine);
      generations.collected = (partition): void => trees?.collected(partition);
      if (!file.current.dataMade) await file.change((identity) => ({ ...identity, dataMade: true }));

      // These know each other: what a peer says changes the standing, and a change of standing is told to the peers.
      const late: { synchroniser?: Synchroniser; repair?: Repair | undefined; tellAll?: () => void; refusedBy?: () => string | undefined } =
        {};
      const registry = options.metrics ?? new MetricRegistry();
      const metrics = registerMetrics(registry);
      const renewed = (): void => {
        metrics.counts.leasesRenewed.add();
        late.tellAll?.();
      };
      const leases = new Leases(file, clock, actor.counter, last.ceilingMs, timings.timeLeaseMs, renewed, () => policies.mostAheadMs());
      const standing = new Standing({
        file,
        leases,
        members,
        policies,
        clock,
        random,
        confirmMs: timings.confirmMs,
        keptActor: last.clean,
        refusedBy: () => late.refusedBy?.(),
        changed: () => {
          late.tellAll?.();
          late.synchroniser?.advance();
          late.repair?.advance();
        },
        warn,
        rewound: () => {
          metrics.counts.rewinds.add();
        },
      });
      const limits = { ...DEFAULT_LIMITS, ...options.limits };
      const hinting = await Hinting.open({
        options,
        topology,
        members,
        leases,
        policies,
        generations,
        identity: () => file.current,
        limitBytes: limits.hintBytes,
        log: (event) => {
          log.log(event.level, `hints-${event.name}`, event.detail);
        },
        warn,
        tell: () => late.tellAll?.(),
      }).catch(async (error: unknown) => {
        await engine.close();
        throw error;
      });
      const policy = new PeerPolicy({
        topology,
        file,
        clock,
        standing,
        peerSynchronised: (member, synchronised) => late.synchroniser?.peerSays(member, synchronised),
        hinting,
        warn,
      });
      const transport = new Transport({
        network,
        clock,
        random,
        handshake: policy,
        limits: limitsForPeers(topology.members.length - 1),
        prompt: PROMPT,
        log: (event) => {
          log.log('info', `peer-${event.kind}`, { ...event });
        },
      });
      const bounds = { operations: mostOperations(limits), waiting: limits.waiting };
      const store = new LocalStore(engine, generations, topology, leases, policies, trees?.trees);
      const core: NodeCore = {
        topology,
        members,
        standing,
        store,
        hints: hinting.store,
        fallbacks: hinting.fallbacks,
        standIn: hinting.standIn,
        registers: new Registers(store, standing),
        leases,
        transport,
        encoder: new HotEncoder(),
        hedging: new Hedging(),
        writeHedging: new WriteHedging(),
        attemptIds: new AttemptIds(random.u32(), random.u32()),
        pace,
        wheel: new TimerWheel(clock, TICK_MS),
        clock,
        random,
        policies,
        limits,
        admission: new Admission({ clock, bounds, metrics, policies, stoppedMs: () => engine.stoppedMs }),
        metrics,
        missed: (diskKey, slot) => {
          const partition = partitionOfDiskKey(topology, diskKey);
          // Its own copy holds the write, or the hint that it keeps.
          if (primaries(topology, partition).includes(members.self)) late.repair?.missed(partition, slot, 'after the pause');
          else hinting.missed(partition, slot);
        },
        warn,
      };
      const { repairMs: everyMs, repairRetryMs: retryMs, scrubMs } = timings;
      const repair = trees === undefined ? undefined : new Repair(core, trees, { everyMs, retryMs, scrubMs, vfs, directory, registry });
      late.repair = repair;
      const synchroniser = new Synchroniser(core, file, timings.copyRetryMs);
      late.synchroniser = synchroniser;
      late.tellAll = (): void => {
        for (const [index, peer] of members.names.entries()) {
          if (index !== members.self && members.isReachable(index)) policy.tell(transport, peer);
        }
      };
      late.refusedBy = (): string | undefined => policy.refusedBy(transport)?.name;
      const reclaimer = new Reclaimer(core, timings.collectMs / RECLAIM_SHARE);
      const collector = new Collector(core, new CollectionMember(core, file, reclaimer), timings.collectMs);
      watchCollection(registry, collector);
      return new CoterieNode({ options, core, file, policy, lock, trees, repair, hinting, reclaimer, collector }, synchroniser);
    } catch (error) {
      await lock.release();
      throw error;
    }
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
    const { synchronised, partitionsDone, partitionsTotal, waitingFor } = this.#synchroniser.view();
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
      synchronisation: this.#synchroniser.view(),
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
      this.#synchroniser.advance();
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
    this.#synchroniser.advance();
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
    this.#synchroniser.stop();
    trees?.stop();
    this.#parts.repair?.stop();
    this.#parts.hinting.stop();
    this.#parts.policy.stop();
    // What is still under way has had its time.
    core.wheel.close();
    await this.#listener?.close();
    await core.transport.close();
    const failed = core.store.engine.stats().state === 'failed';
    await core.store.engine.close();
    if (!failed) await trees?.close(core.store.engine);
    const hints = await this.#parts.hinting.close();
    const { counterUsed, latestMs } = core.leases;
    // An engine that has failed may have lost what it was given.
    if (!failed && !hints.failed) await file.change((identity) => endCleanly(identity, counterUsed, latestMs));
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
