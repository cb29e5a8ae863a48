/**
 * A store's identity: what it must know about itself, and about its peers, before it may mint a dot or count in a quorum.
 *
 * The file is text: one line `coterie-identity <format> <crc32 of the body, 8 hexadecimal digits> <body's length>`, then the body, JSON, then
 * a newline. Text, so that an operator can read it; checksummed, because a wrong counter is worse than none.
 *
 * Invariants:
 * - `storeId`, `clusterId` and `member` never change; `boot`, `lease` and `ceilingMs` only grow; an `actorEpoch` is never taken twice.
 * - a counter above `counterEnd`, or a hybrid time above `ceilingMs`, never leaves the store before a file that allows it is durable.
 * - `removed` only grows.
 */

import { type ByteString, fromByteString, toByteString } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import { crc32 } from '../../base/hash.ts';
import { type ClusterId, clusterId, type MemberName, memberName, type StoreId, storeId } from '../../base/ids.ts';
import { type CopyProgress, parseProgress } from './synchronisation.ts';

/** What a store remembers of the store in another member's slot: the highest boot and lease it ever saw. */
export interface PeerMemory {
  readonly storeId: StoreId;
  readonly boot: number;
  readonly lease: number;
  readonly actorEpoch: number;
}

/** A boot of this store. */
export interface BootRecord {
  readonly boot: number;
  /** The first lease that it took: every lease of the boot before is lower. */
  readonly lease: number;
}

export interface StoreIdentity {
  readonly clusterId: ClusterId;
  readonly storeId: StoreId;
  readonly member: MemberName;
  /** This boot's number, see boot.ts. 0 before the first. */
  readonly boot: number;
  /** The latest boots, oldest first, this one last. */
  readonly boots: readonly BootRecord[];
  readonly actorEpoch: number;
  /** How many leases (of counters or of time) the store has taken in its life: it dates the file. */
  readonly lease: number;
  /** The highest counter that the present actor may use. */
  readonly counterEnd: number;
  /** Where `clean`: the last counter used. */
  readonly counterUsed: number;
  /** The highest hybrid millisecond that may have been given or taken in. */
  readonly ceilingMs: number;
  /** The last run ended by an orderly stop, and nothing ran since. */
  readonly clean: boolean;
  /** The store's data directory was made: from then on its absence means loss. */
  readonly dataMade: boolean;
  /** Whether the store counts in quorums; false while blank or rewound. */
  readonly synchronised: boolean;
  /** The store has an empty or an old disk: what it holds of a partition may be from before a collection (cluster/collection). */
  readonly behind: boolean;
  /** How far it has copied, while it is not synchronised. */
  readonly progress: CopyProgress;
  /** This store was removed from its slot; it never serves again. */
  readonly retired: boolean;
  readonly peers: Readonly<Record<string, PeerMemory>>;
  /** Store ids that may never return. */
  readonly removed: readonly StoreId[];
}

export const IDENTITY_FORMAT = 1;
const MAGIC = 'coterie-identity';

/** A new store: blank, so it counts nowhere until it has synchronised. */
export function newIdentity(cluster: ClusterId, store: StoreId, member: MemberName): StoreIdentity {
  return {
    clusterId: cluster,
    storeId: store,
    member,
    boot: 0,
    boots: [],
    actorEpoch: 0,
    lease: 0,
    counterEnd: 0,
    counterUsed: 0,
    ceilingMs: 0,
    clean: false,
    dataMade: false,
    synchronised: false,
    behind: true,
    progress: { sources: {} },
    retired: false,
    peers: {},
    removed: [],
  };
}

export function encodeIdentity(identity: StoreIdentity): Uint8Array {
  const body = escapeNonAscii(JSON.stringify(identity));
  const bytes = fromByteString(body);
  const head = `${MAGIC} ${String(IDENTITY_FORMAT)} ${crc32(bytes).toString(16).padStart(8, '0')} ${String(bytes.length)}\n`;
  return fromByteString(`${head}${body}\n`);
}

/**
 * @param where the file's path, for the message
 * @throws CoterieError DATA_DIR_NEWER, DATA_DAMAGED
 */
export function decodeIdentity(bytes: Uint8Array, where: string): StoreIdentity {
  const text = toByteString(bytes);
  const end = text.indexOf('\n');
  const [magic, format, crc, length, ...rest] = text.slice(0, Math.max(end, 0)).split(' ');
  if (magic !== MAGIC || format === undefined || !/^[1-9]\d{0,5}$/.test(format)) throw damaged(where, 'it does not begin as one');
  if (Number(format) > IDENTITY_FORMAT) {
    throw new CoterieError(
      'DATA_DIR_NEWER',
      `${where} has format ${format}; this version reads up to ${String(IDENTITY_FORMAT)}: use the version that wrote it, or a newer one`,
    );
  }
  const body = text.slice(end + 1, -1);
  if (rest.length > 0 || String(body.length) !== length || !text.endsWith('\n')) throw damaged(where, 'its length is wrong');
  if (crc32(fromByteString(body)).toString(16).padStart(8, '0') !== crc) throw damaged(where, 'its checksum is wrong');
  return checked(JSON.parse(body) as Partial<Record<keyof StoreIdentity, unknown>>, where);
}

function checked(body: Partial<Record<keyof StoreIdentity, unknown>>, where: string): StoreIdentity {
  const count = (name: keyof StoreIdentity): number => whole(body[name], where, name);
  const flag = (name: keyof StoreIdentity): boolean => {
    const value = body[name];
    if (typeof value !== 'boolean') throw damaged(where, `${name} is not a truth value`);
    return value;
  };
  const list = (name: keyof StoreIdentity): readonly unknown[] => {
    const value = body[name];
    if (!Array.isArray(value)) throw damaged(where, `${name} is not a list`);
    return value as unknown[];
  };
  const peers: Record<string, PeerMemory> = {};
  for (const [name, value] of Object.entries((body.peers ?? {}) as Record<string, Partial<Record<keyof PeerMemory, unknown>>>)) {
    peers[memberName(name)] = {
      storeId: storeId(String(value.storeId)),
      boot: whole(value.boot, where, 'boot'),
      lease: whole(value.lease, where, 'lease'),
      actorEpoch: whole(value.actorEpoch, where, 'actorEpoch'),
    };
  }
  return {
    clusterId: clusterId(String(body.clusterId)),
    storeId: storeId(String(body.storeId)),
    member: memberName(String(body.member)),
    boot: count('boot'),
    boots: list('boots').map((record) => {
      const { boot, lease } = (record ?? {}) as Partial<Record<keyof BootRecord, unknown>>;
      return { boot: whole(boot, where, 'boots'), lease: whole(lease, where, 'boots') };
    }),
    actorEpoch: count('actorEpoch'),
    lease: count('lease'),
    counterEnd: count('counterEnd'),
    counterUsed: count('counterUsed'),
    ceilingMs: count('ceilingMs'),
    clean: flag('clean'),
    dataMade: flag('dataMade'),
    synchronised: flag('synchronised'),
    // Files of earlier versions have no such field.
    behind: body.behind === undefined ? !flag('synchronised') : flag('behind'),
    progress: parseProgress(body.progress, (what) => damaged(where, what)),
    retired: flag('retired'),
    peers,
    removed: list('removed').map((id) => storeId(String(id))),
  };
}

function whole(value: unknown, where: string, name: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw damaged(where, `${name} is not a whole number`);
  return value;
}

function damaged(where: string, what: string): CoterieError {
  return new CoterieError('DATA_DAMAGED', `${where} is not a sound identity file: ${what}`);
}

/** JSON with every character above 126 escaped, so that it is one byte a character. */
function escapeNonAscii(json: string): ByteString {
  let text = '';
  for (let i = 0; i < json.length; i += 1) {
    const code = json.charCodeAt(i);
    text += code > 126 ? `\\u${code.toString(16).padStart(4, '0')}` : json.charAt(i);
  }
  return text;
}
