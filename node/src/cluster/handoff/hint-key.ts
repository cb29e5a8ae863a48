/**
 * Keys of the hint store. A hint belongs to a primary *slot* of a partition, not to a node: who fills the slot is looked up when it is delivered.
 *
 *   slot (1 byte, 0 to 6) | disk key (ring/token.ts)      a hint
 *   0xff | slot (1 byte) | partition (4 bytes, big-endian) a debt (debt.ts)
 *
 * So the hints of a slot of a partition are one range, in the order of tokens.
 *
 * The tag of a hint's entry (the engine's gcTag, which the hint store needs for nothing else):
 *
 *   tag = 8 * generation + W
 *
 * W (1 to 7) is the most that any of the writes merged into it was promised; the generation is the oldest of its partition that anything merged into
 * it was read under (cluster/collection). Stores of versions without generations have W alone there: they are of the first.
 */

import type { ByteString } from '../../base/bytes.ts';
import type { PartitionId } from '../../base/ids.ts';
import { FIRST_GENERATION } from '../collection/generation-table.ts';
import { partitionRange, type TokenSpace } from '../ring/token.ts';

/** Where debts begin, behind every hint. */
export const DEBTS_FROM: ByteString = '\xff';
const DEBT_KEY_BYTES = 6;

const W_VALUES = 8;

export function hintTag(w: number, generation: number): number {
  return W_VALUES * generation + w;
}

export function wOfTag(tag: number): number {
  return tag % W_VALUES;
}

export function generationOfTag(tag: number): number {
  return Math.max(FIRST_GENERATION, Math.floor(tag / W_VALUES));
}

export function hintKey(slot: number, diskKey: ByteString): ByteString {
  return String.fromCharCode(slot) + diskKey;
}

export function slotOfHint(key: ByteString): number {
  return key.charCodeAt(0);
}

export function diskKeyOfHint(key: ByteString): ByteString {
  return key.slice(1);
}

/** The range of the hints of one slot of a partition: from `from`, below `to`. */
export function hintRange(
  topology: { readonly tokenSpace: TokenSpace },
  partition: PartitionId,
  slot: number,
): { readonly from: ByteString; readonly to: ByteString } {
  const { from, to } = partitionRange(topology, partition);
  return { from: hintKey(slot, from), to: to === undefined ? String.fromCharCode(slot + 1) : hintKey(slot, to) };
}

export function debtKey(partition: PartitionId, slot: number): ByteString {
  return (
    DEBTS_FROM + String.fromCharCode(slot, (partition >>> 24) & 0xff, (partition >>> 16) & 0xff, (partition >>> 8) & 0xff, partition & 0xff)
  );
}

/** The slot of a partition that a debt is about; undefined where the key is of no debt. */
export function slotOfDebt(key: ByteString): { readonly partition: PartitionId; readonly slot: number } | undefined {
  if (key.length !== DEBT_KEY_BYTES || !key.startsWith(DEBTS_FROM)) return undefined;
  const at = (position: number): number => key.charCodeAt(position);
  return { slot: at(1), partition: (((at(2) << 24) | (at(3) << 16) | (at(4) << 8) | at(5)) >>> 0) as PartitionId };
}
