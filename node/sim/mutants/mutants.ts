/**
 * Known bugs, put back. Each is a trap that a real system fell into (or a step that is easily got wrong), and names the checker that must
 * notice it within 300 seeds. None is a switch in shipped code: they act on the policies that a node is given, on its disk, or on what a
 * client sends.
 *
 * | mutant | checker |
 * |---|---|
 * | ack before the log is synced | survival |
 * | coordinator forgets its copy | survival |
 * | dot reused after amnesia | crash-free: a coordinator refuses to mint a dot that its own clock has seen |
 * | W counted one short | quorum-overlap |
 * | merge by overwrite | survival |
 * | read repair dropped | convergence |
 * | retry makes a second dot | siblings |
 * | truncation makes false siblings | siblings |
 * | blank replica counted in R | quorum-overlap |
 * | shed after effect | refusals |
 * | torn tail accepted | disk-answers |
 * | one-observer DOWN | two-observers |
 * | rumour counted as a probe | two-observers |
 * | clock jump accepted | clock-bound |
 * | strong read skips write-back when fewer than W hold the tag | linearizability |
 * | tag reused by two writes of one coordinator | linearizability |
 * | per-request R below the bucket's | linearizability |
 * | tombstone collected before all primaries confirmed | no-return |
 * | generation not checked on a late message | no-return |
 * | restored store keeps its actor | crash-free: a coordinator refuses to mint a dot that its own clock has seen |
 * | EXPIRE overwrites a newer value | siblings: the value that it wrote anew stands beside the one that had replaced it |
 * | fsync retried after failure | disk-answers: the log misses frames that were told to be synced |
 * | quarantined range answers not found | quorum-overlap |
 * | Merkle root unchanged by damage | convergence |
 * | repair overwrites instead of merging | survival |
 * | TTL revived by repair | no-return |
 * | hint lost on crash | survival |
 * | hint dropped by age | survival |
 * | fallback counted in a strict quorum | quorum-overlap |
 * | fallback mints on after it dropped a hint | survival |
 * | unbounded hint queue | bounds |
 */

import { crc32 } from 'node:zlib';
import { asCoterieError } from '../../src/base/errors.ts';
import { decodeObject, encodeObject, readHeader } from '../../src/cluster/versioning/codec.ts';
import { isRegister } from '../../src/cluster/versioning/register-codec.ts';
import { counterOf, makeTag, type Tag } from '../../src/cluster/versioning/tag.ts';
import type { Vfs, VfsFile } from '../../src/env/vfs.ts';
import { SEGMENT_HEAD_BYTES } from '../../src/storage/wal/segment-header.ts';
import type { Policies } from '../../src/runtime/policies.ts';
import type { ClientSeams } from '../clients/client.ts';
import type { Seams } from '../machine.ts';
import { NO_SEAMS } from '../run.ts';
import { withTornFramesAccepted } from './accept-torn-tail.ts';
import { withAmnesia, withOldActor } from './amnesia.ts';
import { dropHints } from './drop-hints.ts';
import { expireAsWrite } from './expire-as-write.ts';
import { forgetHints } from './forget-hints.ts';
import { TRUNCATING_BLINDLY } from './truncate-blindly.ts';
import { bound, wrapFiles } from './wrapped-vfs.ts';

export interface Mutant {
  readonly name: string;
  /** The checker that must notice it. */
  readonly checker: string;
  /** Made anew for each run. */
  seams(): Seams & ClientSeams;
}

function byPolicy(policies: Partial<Policies>): () => Seams & ClientSeams {
  return () => ({ ...NO_SEAMS, options: (options) => ({ ...options, policies: { ...options.policies, ...policies } }) });
}

function byFile(wrap: (file: VfsFile) => VfsFile | Promise<VfsFile>): () => Seams & ClientSeams {
  return () => ({ ...NO_SEAMS, vfs: (vfs: Vfs) => wrapFiles(vfs, wrap) });
}

/** Segments of the commit log: storage/FORMAT.md. */
function isLog(path: string): boolean {
  return path.endsWith('.log');
}

/** The object as a repair that writes values anew passes it on: without their expiries. */
function withoutExpiry(bytes: Uint8Array): Uint8Array {
  // Strong keys have none.
  if (isRegister(bytes)) return bytes;
  const object = decodeObject(bytes, crc32);
  const siblings = object.siblings.map((sibling) => {
    if (sibling.expireAtMs === 0) return sibling;
    const { ms, logical } = sibling.edit.ms > sibling.time.ms ? sibling.edit : sibling.time;
    return { ...sibling, expireAtMs: 0, edit: { ms: ms + 1, logical } };
  });
  return encodeObject({ ...object, siblings }, crc32);
}

/** A coordinator that believes its own write of a key to be the last one, and does not raise its tag for the next. */
function tagsReused(): Policies['writeTag'] {
  const last = new Map<string, Tag>();
  return (key, counter, dot) => {
    const before = last.get(key + dot.actor);
    const tag = before !== undefined && counterOf(before) === counter - 1 ? before : makeTag(counter, dot);
    last.set(key + dot.actor, tag);
    return tag;
  };
}

/** What damage took is answered like what was never written. */
function notFound(error: unknown): undefined {
  if (asCoterieError(error).code !== 'DATA_DAMAGED') throw error;
  return undefined;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'ack before the log is synced',
    checker: 'survival',
    seams: byFile((file) => (isLog(file.path) ? { ...bound(file), dataSync: () => Promise.resolve() } : file)),
  },
  { name: 'coordinator forgets its copy', checker: 'survival', seams: byPolicy({ ownCopy: () => undefined }) },
  {
    name: 'dot reused after amnesia',
    checker: 'crash-free',
    seams: () => ({ ...NO_SEAMS, options: withAmnesia }),
  },
  { name: 'W counted one short', checker: 'quorum-overlap', seams: byPolicy({ writeQuorum: (w) => Math.max(1, w - 1) }) },
  {
    name: 'merge by overwrite',
    checker: 'survival',
    seams: byPolicy({ reconcile: (_local, bytes) => ({ kind: 'store', bytes, header: readHeader(bytes) }) }),
  },
  { name: 'read repair dropped', checker: 'convergence', seams: byPolicy({ repairs: () => false }) },
  { name: 'retry makes a second dot', checker: 'siblings', seams: byPolicy({ operation: () => undefined }) },
  { name: 'truncation makes false siblings', checker: 'siblings', seams: byPolicy(TRUNCATING_BLINDLY) },
  { name: 'one-observer DOWN', checker: 'two-observers', seams: byPolicy({ observersNeeded: () => 1 }) },
  { name: 'rumour counted as a probe', checker: 'two-observers', seams: byPolicy({ accuses: () => true }) },
  { name: 'clock jump accepted', checker: 'clock-bound', seams: byPolicy({ mostAheadMs: () => Infinity }) },
  { name: 'blank replica counted in R', checker: 'quorum-overlap', seams: byPolicy({ counts: () => true }) },
  {
    name: 'shed after effect',
    checker: 'refusals',
    seams: byPolicy({
      shed: (begin) => {
        begin();
      },
    }),
  },
  {
    name: 'strong read skips write-back when fewer than W hold the tag',
    checker: 'linearizability',
    seams: byPolicy({ writesBack: () => false }),
  },
  {
    name: 'tag reused by two writes of one coordinator',
    checker: 'linearizability',
    seams: () => byPolicy({ writeTag: tagsReused() })(),
  },
  { name: "per-request R below the bucket's", checker: 'linearizability', seams: byPolicy({ refusesBelow: () => false }) },
  {
    name: 'torn tail accepted',
    checker: 'disk-answers',
    seams: byFile((file) => (isLog(file.path) ? withTornFramesAccepted(file, SEGMENT_HEAD_BYTES) : file)),
  },
  {
    name: 'tombstone collected before all primaries confirmed',
    checker: 'no-return',
    // As if every primary had told the same, and something to collect.
    seams: byPolicy({ confirms: (digests) => digests.map(() => 1) }),
  },
  { name: 'generation not checked on a late message', checker: 'no-return', seams: byPolicy({ admits: () => true }) },
  { name: 'restored store keeps its actor', checker: 'crash-free', seams: () => ({ ...NO_SEAMS, options: withOldActor }) },
  { name: 'EXPIRE overwrites a newer value', checker: 'siblings', seams: byPolicy({ mutation: expireAsWrite }) },
  {
    name: 'fsync retried after failure',
    checker: 'disk-answers',
    seams: byFile((file) => ({ ...bound(file), dataSync: () => file.dataSync().catch(() => file.dataSync()) })),
  },
  { name: 'quarantined range answers not found', checker: 'quorum-overlap', seams: byPolicy({ unreadable: notFound }) },
  { name: 'Merkle root unchanged by damage', checker: 'convergence', seams: byPolicy({ damageShows: () => false }) },
  {
    name: 'repair overwrites instead of merging',
    checker: 'survival',
    seams: byPolicy({ reconcileRepaired: (_local, bytes) => ({ kind: 'store', bytes, header: readHeader(bytes) }) }),
  },
  { name: 'TTL revived by repair', checker: 'no-return', seams: byPolicy({ transferred: withoutExpiry }) },
  {
    name: 'hint lost on crash',
    checker: 'survival',
    seams: () => ({ ...NO_SEAMS, options: forgetHints }),
  },
  { name: 'hint dropped by age', checker: 'survival', seams: byPolicy({ overdue: dropHints }) },
  { name: 'fallback counted in a strict quorum', checker: 'quorum-overlap', seams: byPolicy({ countsFallbacks: () => true }) },
  {
    name: 'fallback mints on after it dropped a hint',
    checker: 'survival',
    seams: byPolicy({ spendsStandIn: () => false }),
  },
  {
    name: 'unbounded hint queue',
    checker: 'bounds',
    seams: () => ({
      ...NO_SEAMS,
      options: (options) => ({ ...options, limits: { ...options.limits, hintBytes: Number.MAX_SAFE_INTEGER } }),
    }),
  },
];
