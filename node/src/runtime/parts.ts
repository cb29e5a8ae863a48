/**
 * What a node is made of, put together: its directory locked and read, its boot made durable, and every part given the others that it needs. Nothing
 * here listens or speaks yet (node.ts).
 */

import { CoterieError } from '../base/errors.ts';
import { beginBoot } from '../cluster/membership/boot.ts';
import { AttemptIds } from '../cluster/versioning/attempt.ts';
import { primaries } from '../cluster/ring/preference.ts';
import { partitionOfDiskKey } from '../cluster/ring/token.ts';
import type { VfsLock } from '../env/vfs.ts';
import { Engine } from '../storage/engine.ts';
import { SILENT } from '../telemetry/logger.ts';
import { MetricRegistry } from '../telemetry/metrics.ts';
import { HotEncoder } from '../transport/messages/hot-encoder.ts';
import { PROMPT } from '../transport/messages/message-type.ts';
import { limitsForPeers } from '../transport/limits.ts';
import { Transport } from '../transport/transport.ts';
import { Admission } from './admission.ts';
import { CollectionMember } from './collection/collection-member.ts';
import { watchCollection } from './collection/collection-metrics.ts';
import { Collector } from './collection/collector.ts';
import { openGenerations } from './collection/generations.ts';
import { Reclaimer } from './collection/reclaimer.ts';
import type { NodeCore } from './core.ts';
import { ForegroundPace } from './foreground-pace.ts';
import { Hedging } from './hedging.ts';
import { WriteHedging } from './write-hedging.ts';
import { Hinting } from './hinting.ts';
import { IdentityFile } from './identity-file.ts';
import { Leases } from './leases.ts';
import { LocalStore } from './local-store.ts';
import { Members } from './members.ts';
import { registerMetrics } from './node-metrics.ts';
import { DEFAULT_LIMITS, DEFAULT_TIMINGS, mostOperations, type NodeOptions } from './options.ts';
import { PeerPolicy } from './peer-policy.ts';
import { SHIPPED_POLICIES } from './policies.ts';
import { Registers } from './registers.ts';
import { LocalTrees } from './repair/local-trees.ts';
import { Repair } from './repair/repair.ts';
import { Standing } from './standing.ts';
import { dataDirectory, findIdentity, lockDirectory } from './store-directory.ts';
import { Synchroniser } from './synchroniser.ts';
import { TimerWheel } from './timer-wheel.ts';

/** How late a deadline may be. */
const TICK_MS = 4;
/** After so much of the interval between collecting rounds the space of what was collected is reclaimed. */
const RECLAIM_SHARE = 4;

/** What a node is made of. */
export interface Parts {
  readonly options: NodeOptions;
  readonly core: NodeCore;
  readonly file: IdentityFile;
  readonly policy: PeerPolicy;
  readonly lock: VfsLock;
  readonly trees: LocalTrees | undefined;
  readonly repair: Repair | undefined;
  readonly hinting: Hinting;
  readonly synchroniser: Synchroniser;
  readonly reclaimer: Reclaimer;
  readonly collector: Collector;
}

/** @throws CoterieError as `CoterieNode.open` */
export async function openParts(options: NodeOptions): Promise<Parts> {
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
    return { options, core, file, policy, lock, trees, repair, hinting, synchroniser, reclaimer, collector };
  } catch (error) {
    await lock.release();
    throw error;
  }
}
