import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { isCoterieError } from '../../src/base/errors.ts';
import { bucketId, clusterId, epoch } from '../../src/base/ids.ts';
import { MAX_WEIGHT } from '../../src/cluster/ring/topology.ts';
import { encodeTopology } from '../../src/cluster/ring/topology-codec.ts';
import { compareTopologies } from '../../src/cluster/ring/topology-compare.ts';
import { nextTopology } from '../../src/cluster/ring/topology-create.ts';
import { parseTopology } from '../../src/cluster/ring/topology-parse.ts';
import { DEFAULT_BUCKET, member, spec, topology } from './clusters.ts';

type Json = Record<string, unknown>;

/** The refusal's code and text, or the absence of one. */
function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isCoterieError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'accepted';
}

const whole = (): Json => JSON.parse(encodeTopology(topology())) as Json;
const list = (document: Json, field: string): Json[] => document[field] as Json[];

describe('the topology document', () => {
  test('is canonical JSON, the same for all time: the golden document', () => {
    const golden = readFileSync(new URL('golden/topology-v1.json', import.meta.url), 'utf8').trimEnd();
    expect(encodeTopology(topology())).toBe(golden);
    expect(encodeTopology(parseTopology(JSON.parse(golden)))).toBe(golden);
  });

  test('does not depend on the order in which members, buckets and fields are written down', () => {
    const { members, buckets } = spec({ members: Array.from({ length: 12 }, (_, at) => member(at + 1)) });
    const one = topology({ members, buckets });
    const other = topology({ members: [...members].reverse(), buckets: [...buckets].reverse() });
    expect(encodeTopology(other)).toBe(encodeTopology(one));
    expect(one.members.map(({ name }) => name).slice(8)).toEqual(['node-9', 'node-10', 'node-11', 'node-12']);
    const turned = Object.fromEntries(Object.entries(whole()).reverse());
    expect(encodeTopology(parseTopology(turned))).toBe(encodeTopology(topology()));
  });

  test('a cluster of one node with N=1 is fine', () => {
    const bucket = { ...DEFAULT_BUCKET, R: 1, W: 1 };
    const alone = topology({ N: 1, Q: 1, members: [member(1)], buckets: [bucket] });
    expect(alone.partitions).toEqual([[0]]);
  });

  test('has a list once, however many partitions it is the list of', () => {
    for (const { partitions } of [topology({ Q: 1024 }), parseTopology(JSON.parse(encodeTopology(topology({ Q: 1024 }))))]) {
      expect(new Set(partitions).size).toBe(new Set(partitions.map((replicas) => replicas.join())).size);
      expect(new Set(partitions).size).toBeLessThan(512);
    }
  });
});

describe('what is not a topology is refused with its field and what is allowed', () => {
  const number = (field: string): ((value: unknown) => (document: Json) => void) => {
    return (value) => (document) => {
      document[field] = value;
    };
  };
  const inMember = (field: string, value: unknown) => (document: Json) => {
    const [first] = list(document, 'members');
    if (first !== undefined) first[field] = value;
  };
  const inAddress = (field: string, value: unknown) => (document: Json) => {
    const [first] = list(document, 'members');
    if (first !== undefined) first['address'] = { ...(first['address'] as Json), [field]: value };
  };
  const inBucket = (at: number, field: string, value: unknown) => (document: Json) => {
    const bucket = list(document, 'buckets')[at];
    if (bucket !== undefined) bucket[field] = value;
  };
  const cases: readonly [string, (document: Json) => void][] = [
    ['SETTING_INVALID topology.format must be 1, not 2', number('format')(2)],
    ['SETTING_INVALID topology.clusterId: a cluster id is 32 hexadecimal digits', number('clusterId')('x')],
    ['SETTING_INVALID topology.clusterId must be a text, not 7', number('clusterId')(7)],
    ['SETTING_INVALID topology.epoch must be a whole number from 0 to 9007199254740991, not -1', number('epoch')(-1)],
    ['SETTING_INVALID topology.N must be a whole number from 1 to 7, not 0', number('N')(0)],
    ['SETTING_INVALID topology.N must be a whole number from 1 to 7, not 8', number('N')(8)],
    ['SETTING_INVALID topology.N must be a whole number from 1 to 7, not "3"', number('N')('3')],
    ['SETTING_INVALID topology.Q must be a power of two from 1 to 1048576, not 12', number('Q')(12)],
    ['SETTING_INVALID topology.Q must be a whole number from 1 to 1048576, not 2097152', number('Q')(2 ** 21)],
    ['SETTING_INVALID topology.tokenHash must be "halfsiphash-2-4", not "murmur3"', number('tokenHash')('murmur3')],
    ['SETTING_INVALID topology.tokenSeed must be 16 lower-case hexadecimal digits, not "00"', number('tokenSeed')('00')],
    ['SETTING_INVALID topology.epoch must be present, not missing', number('epoch')(undefined)],
    ['SETTING_UNKNOWN topology has an unknown field "shards"', number('shards')(1)],
    ['SETTING_INVALID topology.members must be a list of 0 to 4096 entries, not {}', number('members')({})],
    ['CLUSTER_TOO_SMALL N=6 needs at least 6 members; topology.members lists 5', number('N')(6)],
    ['SETTING_INVALID topology.members[0].name: a member name is 1 to 63 of', inMember('name', 'Node 1')],
    ['SETTING_INVALID topology.members[1].name must be different from all others, not "node-2"', inMember('name', 'node-2')],
    ['SETTING_INVALID topology.members[1].storeId must be different from all others', inMember('storeId', 'ff'.repeat(16))],
    ['SETTING_INVALID topology.members[0].storeId: a store id is 32 hexadecimal digits', inMember('storeId', 'zz')],
    [`SETTING_INVALID topology.members[0].weight must be a whole number from 1 to ${String(MAX_WEIGHT)}, not 0`, inMember('weight', 0)],
    ['SETTING_INVALID topology.members[0].weight must be a whole number from 1 to 1024, not 1.5', inMember('weight', 1.5)],
    ['SETTING_INVALID topology.members[0].zone must be 1 to 63 of', inMember('zone', '')],
    ['SETTING_INVALID topology.members[0].rack must be 1 to 63 of', inMember('rack', 'a/b')],
    ['SETTING_INVALID topology.members[0].address must be an object, not "localhost"', inMember('address', 'localhost')],
    ['SETTING_INVALID topology.members[0].address.host must be a host name or an IP address, not "a b"', inAddress('host', 'a b')],
    ['SETTING_INVALID topology.members[0].address.respPort must be a whole number from 1 to 65535, not 0', inAddress('respPort', 0)],
    ['SETTING_UNKNOWN topology.members[0] has an unknown field "tokens"', inMember('tokens', 256)],
    ['SETTING_INVALID topology.buckets[0].R must be a whole number from 1 to 3, not 4', inBucket(0, 'R', 4)],
    ['SETTING_INVALID topology.buckets[0].W must be a whole number from 1 to 3, not 0', inBucket(0, 'W', 0)],
    ['SETTING_INVALID topology.buckets[0].consistency must be "eventual" or "strong", not "weak"', inBucket(0, 'consistency', 'weak')],
    ['SETTING_INVALID topology.buckets[0].blindWrites must be "newest" or "quorum", not "any"', inBucket(0, 'blindWrites', 'any')],
    ['SETTING_INVALID topology.buckets[1] must be R + W greater than N=3 in a strong bucket, not "R=1, W=2"', inBucket(1, 'R', 1)],
    ['SETTING_INVALID topology.buckets[1].id must be different from all others, not "0"', inBucket(1, 'id', 0)],
    ['SETTING_INVALID topology.buckets[1].name must be different from all others, not "default"', inBucket(1, 'name', 'default')],
    ['SETTING_INVALID topology.buckets[1].name must be 1 to 63 of', inBucket(1, 'name', '12')],
    ['SETTING_INVALID topology.buckets[0] must be id 0 with the name "default", or neither', inBucket(0, 'name', 'first')],
    ['SETTING_INVALID topology.buckets must be a list of 1 to 1024 entries, not "one of 0"', number('buckets')([])],
    ['SETTING_INVALID topology.partitions must be a list of 8 entries, not "one of 1"', number('partitions')([[0, 1, 2]])],
    [
      'SETTING_INVALID topology.partitions[0] must be 3 distinct members, not [0,0,1]',
      (d) => (list(d, 'partitions')[0] = [0, 0, 1] as never),
    ],
    [
      'SETTING_INVALID topology.partitions[0][2] must be a whole number from 0 to 4, not 5',
      (d) => (list(d, 'partitions')[0] = [0, 1, 5] as never),
    ],
    ['SETTING_INVALID topology.partitions[0] must be a list of 3 entries', (d) => (list(d, 'partitions')[0] = [0, 1] as never)],
  ];
  test.each(cases)('%s', (expected, change) => {
    const document = whole();
    change(document);
    expect(refusal(() => parseTopology(document))).toContain(expected);
  });

  test.each([[null], [7], ['{}'], [[]]])('%j is no object', (value) => {
    expect(refusal(() => parseTopology(value))).toContain('SETTING_INVALID topology must be an object, not ');
  });

  test('a cluster of fewer nodes than N cannot be created', () => {
    expect(refusal(() => topology({ members: [member(1), member(2)] }))).toBe(
      'CLUSTER_TOO_SMALL N=3 needs at least 3 members; topology.members lists 2',
    );
  });
});

describe('two documents', () => {
  const ours = topology();

  test('are the same, newer or older', () => {
    const next = nextTopology(ours, { members: [...ours.members, member(6)] });
    expect(next.epoch).toBe(2);
    expect(compareTopologies(ours, topology())).toEqual({ kind: 'same' });
    expect(compareTopologies(ours, next)).toEqual({ kind: 'newer' });
    expect(compareTopologies(next, ours)).toEqual({ kind: 'older' });
  });

  test.each([
    ['foreign', 'is not cluster', topology({ clusterId: clusterId('ab'.repeat(16)) })],
    ['incompatible', 'Q is 16 there and 8 here', topology({ Q: 16, epoch: epoch(2) })],
    ['incompatible', 'N is 2 there and 3 here', topology({ N: 2, epoch: epoch(2) })],
    ['incompatible', 'tokenSeed is', topology({ tokenSeed: 'ffffffffffffffff', epoch: epoch(2) })],
    ['incompatible', 'two different documents claim epoch 1', topology({ members: [1, 2, 3, 4].map((number) => member(number)) })],
    [
      'incompatible',
      'bucket 7 (ledger) is eventual there and strong here; that never changes',
      nextTopology(ours, { buckets: [DEFAULT_BUCKET, { ...DEFAULT_BUCKET, id: bucketId(7), name: 'ledger' }] }),
    ],
    [
      'incompatible',
      'bucket 7 is called journal there and ledger here',
      nextTopology(ours, { buckets: [DEFAULT_BUCKET, { ...DEFAULT_BUCKET, id: bucketId(7), name: 'journal', consistency: 'strong' }] }),
    ],
  ])('are %s: %s', (kind, reason, theirs) => {
    expect(compareTopologies(ours, theirs)).toEqual({ kind, reason: expect.stringContaining(reason) });
  });
});
