/** What a store says of itself when it meets a peer and when it changes (proto/peer.proto). */

import { fromHex, toHex } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import { type StoreId, storeId } from '../../base/ids.ts';
import { coterie, decodeWire, u53 } from '../wire.ts';

const { Notice } = coterie.peer;

export interface StoreNotice {
  readonly storeId: StoreId;
  readonly boot: number;
  readonly lease: number;
  readonly actorEpoch: number;
  readonly synchronised: boolean;
  readonly removed: readonly StoreId[];
  /** What it keeps for others. */
  readonly hints: readonly HintBacklog[];
  readonly hintsFull: boolean;
}

/** Hints that a store keeps for one member. */
export interface HintBacklog {
  readonly member: string;
  readonly hints: number;
  readonly bytes: number;
  /** How many of them are repair debt. */
  readonly debt: number;
}

export function encodeNotice(notice: StoreNotice): Uint8Array {
  const { boot, lease, actorEpoch, synchronised } = notice;
  return Notice.encode({
    storeId: idBytes(notice.storeId),
    boot,
    lease,
    actorEpoch,
    synchronised,
    removed: notice.removed.map(idBytes),
    hints: notice.hints.map(({ member, hints, bytes, debt }) => ({ member, hints, bytes, debt })),
    hintsFull: notice.hintsFull,
  }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeNotice(payload: Uint8Array): StoreNotice {
  const message = decodeWire(Notice, payload);
  return {
    storeId: idOf(message.storeId),
    boot: u53(message.boot, 'boot'),
    lease: u53(message.lease, 'lease'),
    actorEpoch: message.actorEpoch,
    synchronised: message.synchronised,
    removed: message.removed.map(idOf),
    hints: message.hints.map(({ member, hints, bytes, debt }) => ({
      member: member ?? '',
      hints: u53(hints ?? 0, 'hints'),
      bytes: u53(bytes ?? 0, 'bytes'),
      debt: u53(debt ?? 0, 'debt'),
    })),
    hintsFull: message.hintsFull,
  };
}

function idBytes(id: StoreId): Uint8Array {
  return fromHex(id) ?? new Uint8Array(0);
}

function idOf(bytes: Uint8Array): StoreId {
  if (bytes.length !== 16) throw new CoterieError('FRAME_INVALID', 'a store id has 16 bytes');
  return storeId(toHex(bytes));
}
