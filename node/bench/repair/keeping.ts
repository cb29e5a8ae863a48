/**
 * `keeping.ts trees|plain KEYS WRITES DIRECTORY`: a replica's writes (read the copy, merge, store), over and over the same keys, with hash trees kept
 * and written down, or without. The last line printed is writes a second, as JSON.
 */

import { crc32 } from 'node:zlib';

import { bucketId, clusterId, memberName, storeId } from '../../src/base/ids.ts';
import { createTopology } from '../../src/cluster/ring/topology-create.ts';
import { DEFAULT_PARTITIONS } from '../../src/cluster/ring/topology.ts';
import { FIRST_GENERATION } from '../../src/cluster/collection/generation-table.ts';
import { placeKey } from '../../src/cluster/ring/token.ts';
import { encodeObject } from '../../src/cluster/versioning/codec.ts';
import { actorOf } from '../../src/cluster/versioning/object.ts';
import { NodeClock } from '../../src/env-node/clock.ts';
import { NodeExecutor } from '../../src/env-node/executor.ts';
import { NodeVfs } from '../../src/env-node/vfs.ts';
import { openGenerations } from '../../src/runtime/collection/generations.ts';
import { LocalStore } from '../../src/runtime/local-store.ts';
import { SHIPPED_POLICIES } from '../../src/runtime/policies.ts';
import { LocalTrees } from '../../src/runtime/repair/local-trees.ts';
import { Engine } from '../../src/storage/engine.ts';

const [kind = 'trees', keysText, writesText, directory = '.'] = process.argv.slice(2);
const keys = Number(keysText);
const writes = Number(writesText);
const VALUE_BYTES = 1024;
const IN_FLIGHT = 128;

const STORE = storeId('ab'.repeat(16));
const ACTOR = actorOf(STORE, 1);
const topology = createTopology({
  clusterId: clusterId('cd'.repeat(16)),
  N: 2,
  Q: DEFAULT_PARTITIONS,
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

const clock = new NodeClock();
const vfs = new NodeVfs();
const executor = new NodeExecutor();
const where = { topology, self: 0, store: STORE, vfs, directory, clock, pace: { pauseMs: () => 0 } };
await vfs.mkdir(directory);
const generations = await openGenerations(
  { vfs, directory, partitions: topology.Q, admits: (generation, least) => SHIPPED_POLICIES.admits(generation, least) },
  true,
);
const trees = kind === 'plain' ? undefined : new LocalTrees({ ...where, generations, warn: () => undefined, damageShows: () => true });
const engine = await Engine.open({
  directory: `${directory}/data`,
  vfs,
  executor,
  clock,
  fsync: { kind: 'interval', everyMs: 1000 },
  memtableBytes: 32 * 1024 * 1024,
  reserveBytes: 0,
  ...(trees === undefined ? {} : { follower: trees }),
});
await trees?.open(engine);
const store = new LocalStore(
  engine,
  generations,
  topology,
  { observe: () => true, touch: () => undefined },
  SHIPPED_POLICIES,
  trees?.trees,
);

const value = new Uint8Array(VALUE_BYTES).map((_, at) => (at * 7) & 0xff);
let number = 0;
function nextObject(): Uint8Array {
  number += 1;
  const time = { ms: number, logical: 0 };
  const sibling = { actor: ACTOR, counter: number, time, blind: false, edit: { ms: 0, logical: 0 }, expireAtMs: 0, value };
  const clockEntries = [{ actor: ACTOR, counter: number, ms: number }];
  return encodeObject({ clock: clockEntries, floorMs: 0, blindFloor: undefined, siblings: [sibling], operations: [] }, crc32);
}

let state = 0x2545f491;
function random(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
}

/** Merges so many objects, each into the key that `pick` names. */
async function merge(count: number, pick: () => number): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const { diskKey } = placeKey(topology, bucketId(0), `key-${String(pick())}`);
      const object = nextObject();
      const again = (): Promise<void> =>
        new Promise((resolve, reject) => {
          store.merge(diskKey, object, FIRST_GENERATION, (error) => {
            if (error === undefined) resolve();
            // Flushes lag behind.
            else if (error.code === 'BUSY') setTimeout(() => void again().then(resolve, reject), 5);
            else reject(error);
          });
        });
      await again();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}

let at = 0;
await merge(keys, () => (at += 1));
const beganMs = clock.monotonicMs();
await merge(writes, () => 1 + (random() % keys));
const perSecond = writes / ((clock.monotonicMs() - beganMs) / 1000);
await engine.close();
await executor.close();
process.stdout.write(`${JSON.stringify({ perSecond, checkpoints: trees?.counts.checkpoints ?? 0 })}\n`);
