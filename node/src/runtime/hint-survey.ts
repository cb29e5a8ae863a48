/**
 * Whether nobody keeps a hint of a key that its primaries lack: to be known before a clock is truncated, because what a hint brings later would count
 * as seen by then, and be lost.
 *
 * Any member but a primary may have stood in at some time, so all are asked, and one that cannot answer, or does not at present, means no. It is
 * asked only when the primaries agree on a clock above the threshold. What is written while the question is under way is younger than anything that truncation drops
 * (versioning/truncate.ts).
 */

import type { ByteString } from '../base/bytes.ts';
import { decodeHinted } from '../transport/messages/hint.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import type { Reply } from '../transport/request.ts';
import { digestOf } from './content.ts';
import type { NodeCore } from './core.ts';
import type { WriteCommand } from './write-command.ts';

/**
 * @param digest of the copy that all primaries have
 * @param done runs once; `clear`: nobody keeps anything else
 */
export function surveyHints(
  core: NodeCore,
  { replicas, diskKey }: Pick<WriteCommand, 'replicas' | 'diskKey'>,
  digest: ByteString,
  timeoutMs: number,
  done: (clear: boolean) => void,
): void {
  const { members, transport, encoder, topology } = core;
  const others = members.names.map((_, index) => index).filter((index) => !replicas.includes(index));
  if (others.length === 0 || !others.every((index) => members.isHealthy(index))) {
    done(others.length === 0);
    return;
  }
  let left = others.length;
  let clear = true;
  const onReply = (reply: Reply): void => {
    left -= 1;
    clear &&= reply.kind === 'reply' && isKnown(decodeHinted(reply.payload)?.object, digest);
    if (left === 0) done(clear);
  };
  for (const index of others) {
    transport.request(members.nameOf(index), MESSAGE.readHint, encoder.readRequest(diskKey), timeoutMs, topology.epoch, onReply);
  }
}

function isKnown(object: Uint8Array | undefined, digest: ByteString): boolean {
  return object === undefined || digestOf(object) === digest;
}
