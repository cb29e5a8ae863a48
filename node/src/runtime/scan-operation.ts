/**
 * SCAN over the cluster. Every member lists its own keys from the cursor on; a page reaches as far as, in every partition, enough primaries have listed:
 * max(R, N-W+1) of them, so that each acknowledged key is on at least one.
 *
 * Invariants: a key that is there from the first page to the last is answered at least once; the cursor is a token and holds all state, so any node
 * goes on from it; a key that some of the replicas call live and others deleted is looked up with a quorum before it is answered.
 */

import type { ByteString } from '../base/bytes.ts';
import { CoterieError } from '../base/errors.ts';
import type { BucketDefinition } from '../cluster/ring/topology.ts';
import { primaries } from '../cluster/ring/preference.ts';
import { keyOfDiskKey, partitionOfDiskKey, partitionRange } from '../cluster/ring/token.ts';
import type { PartitionId } from '../base/ids.ts';
import { overlapping } from '../cluster/quorum/legality.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import { decodeListAnswer, encodeListQuestion, type ListAnswer } from '../transport/messages/ranges.ts';
import type { NodeCore } from './core.ts';
import { listOwn, MOST_LISTED } from './listing.ts';

export interface Page {
  /** Disk keys in order. */
  readonly keys: readonly ByteString[];
  /** The token to go on from; `''` at the end. */
  readonly next: ByteString;
}

/** Compares ends: `''` is the end of everything. */
function atLeast(end: ByteString, other: ByteString): boolean {
  return end === '' || (other !== '' && end >= other);
}

interface PageQuestion {
  readonly bucket: BucketDefinition;
  /** A token. */
  readonly from: ByteString;
  /** About how many keys. */
  readonly count: number;
  readonly timeoutMs: number;
  /** Whether the key has a live value, by a quorum read. */
  readonly isLive: (key: ByteString) => Promise<boolean>;
}

/** One page. @throws CoterieError NO_QUORUM, TIMEOUT */
export async function scanPage(core: NodeCore, question: PageQuestion): Promise<Page> {
  const { topology, members } = core;
  const { bucket, from } = question;
  const n = topology.N;
  const need = Math.max(bucket.R, overlapping(n, bucket.W));
  const answers = await askAll(core, question, members.names.length - (n - need));
  const end = frontier(core, answers, from, need);
  if (end === from) {
    throw new CoterieError('NO_QUORUM', `${String(need)} replicas of every partition must list their keys, and too few can`);
  }
  const found = new Map<ByteString, { live: boolean; dead: boolean }>();
  for (const answer of answers) {
    if (answer?.counts !== true) continue;
    for (const { key, live } of answer.entries) {
      if (atLeast(key, end)) break;
      const known = found.get(key);
      if (known === undefined) found.set(key, { live, dead: !live });
      else if (live) known.live = true;
      else known.dead = true;
    }
  }
  const keys: ByteString[] = [];
  for (const [key, { live, dead }] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (live && (!dead || (await question.isLive(keyOfDiskKey(key))))) keys.push(key);
  }
  return { keys, next: end };
}

/** The answers by member; resolves when all have answered, or all but so few that every partition still has enough. */
function askAll(core: NodeCore, question: PageQuestion, enough: number): Promise<readonly (ListAnswer | undefined)[]> {
  const { members, transport, topology } = core;
  const { bucket, from, count, timeoutMs } = question;
  const total = members.names.length;
  // A member holds about N/M of the keys, so so many of its own reach about `count` keys far.
  const limit = Math.min(MOST_LISTED, Math.ceil((count * topology.N) / total) + 4);
  const list = { bucket: bucket.id, from, to: '', limit };
  const answers: (ListAnswer | undefined)[] = new Array<ListAnswer | undefined>(total).fill(undefined);
  return new Promise((resolve, reject) => {
    let open = 0;
    let got = 0;
    const ended = (index: number, answer: ListAnswer | undefined): void => {
      open -= 1;
      answers[index] = answer;
      if (answer?.counts === true) got += 1;
      if (open === 0 || got >= enough) resolve(answers.slice());
    };
    const payload = encodeListQuestion(list);
    open = total;
    for (let index = 0; index < total; index += 1) {
      if (index === members.self) {
        listOwn(core, list).then(
          (answer) => {
            ended(index, answer);
          },
          (error: unknown) => {
            if (isExpected(error)) ended(index, undefined);
            else reject(error instanceof Error ? error : new Error(String(error)));
          },
        );
      } else if (members.isReachable(index)) {
        transport.request(members.nameOf(index), MESSAGE.list, payload, timeoutMs, topology.epoch, (reply) => {
          ended(index, reply.kind === 'reply' ? decodeListAnswer(reply.payload) : undefined);
        });
      } else {
        ended(index, undefined);
      }
    }
  });
}

function isExpected(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error;
}

/** How far, from `from` on, at least `need` primaries of every partition have listed. */
function frontier(core: NodeCore, answers: readonly (ListAnswer | undefined)[], from: ByteString, need: number): ByteString {
  const { topology } = core;
  const last = topology.Q - 1;
  for (let partition: number = partitionOfDiskKey(topology, from); partition <= last; partition += 1) {
    const ends: ByteString[] = [];
    for (const member of primaries(topology, partition as PartitionId)) {
      const answer = answers[member];
      if (answer?.counts === true) ends.push(answer.end);
    }
    ends.sort((a, b) => (a === b ? 0 : atLeast(a, b) ? -1 : 1));
    const covered = ends[need - 1];
    const range = partitionRange(topology, partition as PartitionId);
    const start = range.from > from ? range.from : from;
    if (covered === undefined) return start;
    if (!atLeast(covered, range.to ?? '')) return atLeast(covered, start) ? covered : start;
  }
  return '';
}
