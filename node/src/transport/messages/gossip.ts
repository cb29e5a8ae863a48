/** The failure detector's one kind of message (proto/peer.proto; its meaning: cluster/membership/gossip.ts). */

import { fromHex, toHex } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import { type StoreId, storeId } from '../../base/ids.ts';
import { coterie, decodeWire, u53 } from '../wire.ts';

const { Gossip } = coterie.peer;

/** Far above what is ever sent, far below what would hold up the loop. */
const MOST_ROWS = 1024;
const MOST_OTHERS = 256;
/** Numbers of a row: member, incarnation, heartbeat, load, epoch. */
const ROW = 5;
const STORE_ID_BYTES = 16;
/** Far above what any store's boots lead to: a broken one must not make its member count up out of range. */
const MOST_INCARNATION = 2 ** 48;
const NOTHING = new Uint8Array(0);

export interface GossipMessage {
  readonly incarnation: number;
  readonly heartbeat: number;
  readonly load: number;
  readonly epoch: number;
  readonly store: StoreId | undefined;
  readonly exchange: boolean;
  /** ROW numbers a member. */
  readonly rows: readonly number[];
  readonly introductions: readonly { readonly member: number; readonly incarnation: number; readonly store: StoreId }[];
  readonly accusations: readonly {
    readonly member: number;
    readonly incarnation: number;
    readonly observer: number;
    readonly observerIncarnation: number;
  }[];
}

export function encodeGossip(message: GossipMessage): Uint8Array {
  const { incarnation, heartbeat, load, epoch, store, exchange, rows, introductions, accusations } = message;
  return Gossip.encode({
    incarnation,
    heartbeat,
    load,
    epoch,
    storeId: store === undefined ? NOTHING : idBytes(store),
    exchange,
    members: column(rows, 0),
    incarnations: column(rows, 1),
    heartbeats: column(rows, 2),
    loads: column(rows, 3),
    epochs: column(rows, 4),
    introductions: introductions.map((one) => ({ member: one.member, incarnation: one.incarnation, storeId: idBytes(one.store) })),
    accusations: [...accusations],
  }).finish();
}

function column(rows: readonly number[], at: number): number[] {
  const values: number[] = [];
  for (let from = at; from < rows.length; from += ROW) values.push(rows[from] ?? 0);
  return values;
}

/** @throws CoterieError FRAME_INVALID */
export function decodeGossip(payload: Uint8Array): GossipMessage {
  const message = decodeWire(Gossip, payload);
  const { members, incarnations, heartbeats, loads, epochs, introductions, accusations } = message;
  const count = members.length;
  for (const values of [incarnations, heartbeats, loads, epochs]) {
    if (values.length !== count) throw new CoterieError('FRAME_INVALID', 'the columns of a member list differ in length');
  }
  if (count > MOST_ROWS || introductions.length > MOST_OTHERS || accusations.length > MOST_OTHERS) {
    throw new CoterieError('FRAME_INVALID', 'a gossip message is too long');
  }
  const rows: number[] = [];
  for (let at = 0; at < count; at += 1) {
    rows.push(
      members[at] ?? 0,
      life(incarnations[at] ?? 0),
      u53(heartbeats[at] ?? 0, 'a heartbeat'),
      loads[at] ?? 0,
      u53(epochs[at] ?? 0, 'an epoch'),
    );
  }
  return {
    incarnation: life(message.incarnation),
    heartbeat: u53(message.heartbeat, 'a heartbeat'),
    load: message.load,
    epoch: u53(message.epoch, 'an epoch'),
    store: message.storeId.length === 0 ? undefined : idOf(message.storeId),
    exchange: message.exchange,
    rows,
    introductions: introductions.map((one) => ({
      member: one.member ?? 0,
      incarnation: life(one.incarnation ?? 0),
      store: idOf(one.storeId ?? NOTHING),
    })),
    accusations: accusations.map((one) => ({
      member: one.member ?? 0,
      incarnation: life(one.incarnation ?? 0),
      observer: one.observer ?? 0,
      observerIncarnation: life(one.observerIncarnation ?? 0),
    })),
  };
}

function life(incarnation: number): number {
  if (u53(incarnation, 'an incarnation') > MOST_INCARNATION) throw new CoterieError('FRAME_INVALID', 'an incarnation is out of range');
  return incarnation;
}

function idBytes(id: StoreId): Uint8Array {
  return fromHex(id) ?? NOTHING;
}

function idOf(bytes: Uint8Array): StoreId {
  if (bytes.length !== STORE_ID_BYTES) throw new CoterieError('FRAME_INVALID', 'a store id has 16 bytes');
  return storeId(toHex(bytes));
}
