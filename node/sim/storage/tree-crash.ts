/**
 * Proof: the hash trees that a store finds after any crash are true. A seeded workload of writes, flushes and compactions runs once on the
 * simulated disk; at EVERY operation that changes the disk it takes the image that a loss of power, or the death of the process, could leave.
 * Each image is opened, and from then on, at every step until all leaves are known, a leaf that is said to be known must be the one computed from
 * the store's content. Then it goes on: some more writes and a flush, an orderly stop, and a start that computes nothing.
 *
 *   node sim/storage/tree-crash.ts --seed 1 --count 4             four workloads
 *   node sim/storage/tree-crash.ts --seed 2 --cut 317             one cut of workload 2, as a failure names it
 *
 * `--writes N` sets the length of a workload. `--sabotage late` writes a checkpoint down after the manifest, `--sabotage blind` forgets what a
 * write replaced: the proof must then fail, and a test runs it so.
 */

import { crc32 } from 'node:zlib';
import { bucketId, clusterId, memberName, storeId } from '../../src/base/ids.ts';
import { HashTrees } from '../../src/cluster/repair/hash-trees.ts';
import { createTopology } from '../../src/cluster/ring/topology-create.ts';
import { placeKey } from '../../src/cluster/ring/token.ts';
import { encodeObject, readHeader } from '../../src/cluster/versioning/codec.ts';
import { actorOf } from '../../src/cluster/versioning/object.ts';
import { LocalStore } from '../../src/runtime/local-store.ts';
import { openGenerations } from '../../src/runtime/collection/generations.ts';
import { SHIPPED_POLICIES } from '../../src/runtime/policies.ts';
import { LocalTrees } from '../../src/runtime/repair/local-trees.ts';
import { Engine, Pending } from '../../src/storage/engine.ts';
import type { Follower } from '../../src/storage/follower.ts';
import { SimExecutor } from '../disk/executor.ts';
import type { Medium } from '../disk/medium.ts';
import { SimMount } from '../disk/mount.ts';
import { SeededRandom } from '../disk/seeded-random.ts';
import type { SimVolume } from '../disk/volume.ts';
import { DIRECTORY, newVolume, TINY, volumeOf } from './engine-process.ts';
import { cpuSeconds, messageOf, proofArguments, report } from './proof-program.ts';
import { Timeline } from './timeline.ts';
import { contentOf } from './whole-store.ts';

const KEYS = 40;
const MOST_FAILURES = 10;
const STORE = storeId('ab'.repeat(16));
const ACTOR = actorOf(STORE, 1);
const TIMES = { observe: (): boolean => true, touch: (): void => undefined };

const options = proofArguments({ seed: 1, count: 1 }, ['writes', 'cut', 'sabotage']);
const writes = options.numberOption('writes', 90);
const onlyCut = options.numberOption('cut', -1);
const sabotage = options.option('sabotage');

const failures: string[] = [];
const figures = { workloads: 0, cuts: 0, images: 0, restored: 0, computed: 0, leavesBuilt: 0 };

const topology = createTopology({
  clusterId: clusterId('cd'.repeat(16)),
  N: 2,
  Q: 4,
  tokenSeed: '0123456789abcdef',
  buckets: [{ id: bucketId(0), name: 'default', consistency: 'eventual', R: 1, W: 1, blindWrites: 'newest' }],
  members: [1, 2].map((number) => ({
    name: memberName(`node-${String(number)}`),
    address: { host: '127.0.0.1', peerPort: 7400, respPort: 6379, httpPort: 8400 },
    zone: `zone-${String(number)}`,
    rack: 'rack-1',
    weight: 1,
  })),
});

interface Store {
  readonly engine: Engine;
  readonly timeline: Timeline;
  readonly trees: LocalTrees;
  readonly store: LocalStore;
}

function fail(text: string): void {
  if (failures.length < MOST_FAILURES) failures.push(text);
}

/** The bug "checkpoint after the manifest": what is handed on only when the manifest says it. */
function late(trees: LocalTrees): Follower {
  return {
    sealed: (sequence) => {
      trees.sealed(sequence);
    },
    flushing: () => Promise.resolve(),
    flushed: (sequence) => {
      void trees.flushing(sequence).then(() => {
        trees.flushed(sequence);
      });
    },
    damaged: () => {
      trees.damaged();
    },
    healing: () => trees.healing(),
  };
}

async function open(volume: SimVolume, random: SeededRandom): Promise<Store> {
  const timeline = new Timeline();
  const mount = new SimMount(volume, { schedule: timeline.schedule, latencyMs: (kind) => random.below(kind === 'dataSync' ? 12 : 3) });
  const executor = new SimExecutor(mount, { random, sliceDelayMs: 2 });
  const where = { directory: DIRECTORY, vfs: mount.vfs, clock: timeline };
  const parts = {
    ...where,
    partitions: topology.Q,
    admits: (generation: number, least: number) => SHIPPED_POLICIES.admits(generation, least),
  };
  const generations = await timeline.run(openGenerations(parts, false));
  const trees = new LocalTrees({
    ...where,
    generations,
    topology,
    self: 0,
    store: STORE,
    pace: { pauseMs: () => 0 },
    warn: () => undefined,
    damageShows: () => true,
  });
  const follower = sabotage === 'late' ? late(trees) : trees;
  const engine = await timeline.run(Engine.open({ ...TINY, ...where, executor, follower }));
  await timeline.run(trees.open(engine));
  const kept = sabotage === 'blind' ? blind(trees.trees) : trees.trees;
  return { engine, timeline, trees, store: new LocalStore(engine, generations, topology, TIMES, SHIPPED_POLICIES, kept) };
}

/** The bug "old value left in": a tree that only learns of new ones. */
function blind(trees: HashTrees): Pick<HashTrees, 'replace'> {
  return {
    replace: (key, _before, after): void => {
      trees.replace(key, undefined, after);
    },
  };
}

function objectOf(number: number, random: SeededRandom): Uint8Array {
  const time = { ms: number, logical: 0 };
  const value = new Uint8Array(random.below(200)).fill(number & 0xff);
  const sibling = { actor: ACTOR, counter: number, time, blind: false, edit: { ms: 0, logical: 0 }, expireAtMs: 0, value };
  const siblings = random.oneIn(5) ? [] : [sibling];
  return encodeObject(
    { clock: [{ actor: ACTOR, counter: number, ms: number }], floorMs: 0, blindFloor: undefined, siblings, operations: [] },
    crc32,
  );
}

/** Writes some key; answers before that is durable. */
async function put({ engine, store, timeline }: Store, number: number, random: SeededRandom): Promise<{ readonly durable: Promise<void> }> {
  const { diskKey } = placeKey(topology, bucketId(0), `key-${String(random.below(KEYS))}`);
  const object = objectOf(number, random);
  for (;;) {
    // In one turn, as coordinators do it.
    const before = engine.tryGet(diskKey);
    if (before instanceof Pending) {
      await timeline.run(engine.load(before));
      continue;
    }
    return {
      durable: new Promise<void>((resolve) => {
        store.put(diskKey, before, object, readHeader(object), () => {
          resolve();
        });
      }),
    };
  }
}

async function scratch({ engine, timeline }: Store): Promise<HashTrees> {
  const trees = new HashTrees(
    topology.tokenSpace,
    topology.partitions.map((_, partition) => partition as HashTrees['partitions'][number]),
  );
  for (const [key, value] of await timeline.run(contentOf(engine))) trees.replace(key, undefined, value);
  return trees;
}

/** Where a leaf that is said to be known is not the one that the content makes. */
function wrongLeaf(expected: HashTrees, words: Uint32Array, flags: Uint8Array): string | undefined {
  for (let leaf = 0; leaf < flags.length; leaf += 1) {
    if (flags[leaf] !== 0) continue;
    if (words[2 * leaf] === expected.words[2 * leaf] && words[2 * leaf + 1] === expected.words[2 * leaf + 1]) continue;
    return `leaf ${String(leaf)} says that it is known, and is not what the content makes`;
  }
  return undefined;
}

/** Runs until all leaves are known, and compares every state on the way with the content, which does not change meanwhile. */
async function settled(store: Store, label: string): Promise<void> {
  const { trees, timeline } = store;
  const states: { words: Uint32Array; flags: Uint8Array }[] = [];
  for (let step = 0; !trees.whole; step += 1) {
    // While the log's changes are put in, every leaf is flagged.
    states.push({ words: trees.trees.words.slice(), flags: trees.trees.flags.slice() });
    if (step > 20_000 || !(await timeline.step())) throw new Error('the trees never become whole');
  }
  states.push({ words: trees.trees.words, flags: trees.trees.flags });
  const expected = await scratch(store);
  for (const { words, flags } of states) {
    const wrong = wrongLeaf(expected, words, flags);
    if (wrong === undefined) continue;
    fail(`${label}: ${wrong}`);
    return;
  }
}

async function verify(image: Medium, seed: number, label: string): Promise<void> {
  const random = new SeededRandom(seed, 5);
  const volume = volumeOf(image, random.fork());
  try {
    const store = await open(volume, random.fork());
    await settled(store, label);
    figures.restored += store.trees.counts.restored;
    if (store.trees.counts.leavesBuilt > 0) figures.computed += 1;
    figures.leavesBuilt += store.trees.counts.leavesBuilt;
    if (!random.oneIn(4)) return;
    for (let more = 0; more < 12; more += 1) await put(store, 100_000 + more, random);
    if (random.oneIn(2)) await store.timeline.run(store.engine.flush());
    await settled(store, `${label}, then written`);
    await store.timeline.run(store.engine.close());
    await store.timeline.run(store.trees.close(store.engine));
    const again = await open(volume, random.fork());
    await settled(again, `${label}, then stopped and started`);
    if (again.trees.counts.leavesBuilt > 0) fail(`${label}: after an orderly stop the trees are computed anew`);
  } catch (error) {
    fail(`${label}: ${messageOf(error)}`);
  }
}

async function workload(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const volume = newVolume(random.fork());
  const cuts: { image: Medium; seed: number; label: string }[] = [];
  volume.judge = (operation) => {
    if (operation.changes && (onlyCut < 0 || operation.index === onlyCut)) {
      figures.cuts += 1;
      const where = `--seed ${String(seed)} --cut ${String(operation.index)} (${operation.kind} ${operation.path}`;
      const imageSeed = (seed * 1_000_003 + operation.index * 101) >>> 0;
      const power = volume.imageAfterPowerLoss(new SeededRandom(imageSeed), volume.current);
      const death = volume.imageAfterProcessDeath(new SeededRandom(imageSeed + 1), volume.current);
      cuts.push(
        { image: power, seed: imageSeed, label: `${where}, power)` },
        { image: death, seed: imageSeed + 1, label: `${where}, death)` },
      );
    }
    return 'ok';
  };
  const store = await open(volume, random.fork());
  const { engine, timeline } = store;
  for (let number = 1; number <= writes && failures.length < MOST_FAILURES; number += 1) {
    const { durable } = await put(store, number, random);
    if (random.oneIn(3)) await timeline.run(durable);
    if (random.oneIn(25)) await timeline.run(engine.flush());
    if (random.oneIn(50)) await timeline.run(engine.compact());
    for (const cut of cuts.splice(0)) {
      figures.images += 1;
      await verify(cut.image, cut.seed, cut.label);
    }
  }
  await timeline.run(engine.flush());
  await settled(store, `--seed ${String(seed)}, the running store`);
  for (const cut of cuts.splice(0)) await verify(cut.image, cut.seed, cut.label);
  figures.workloads += 1;
}

for (let seed = options.seed; seed < options.seed + options.count && failures.length < MOST_FAILURES; seed += 1) {
  try {
    await workload(seed);
  } catch (error) {
    fail(`--seed ${String(seed)}: the workload itself failed: ${messageOf(error)}`);
  }
}
report({ proof: 'tree-crash', seed: options.seed, ...figures, cpuSeconds: cpuSeconds(), failures });
