/** The steps of a collecting round, as they travel (proto/peer.proto). What they mean: cluster/collection/round-messages.ts. */

import { type ByteString, fromByteString, fromHex, toByteString, toHex } from '../../base/bytes.ts';
import { CoterieError } from '../../base/errors.ts';
import { type PartitionId, partitionId, type StoreId, storeId } from '../../base/ids.ts';
import { coterie, decodeWire, u53 } from '../wire.ts';

const { CollectionRequest, CollectionReply, CollectionStep } = coterie.peer;

/** As the machine calls them. */
export type StepName = 'survey' | 'confirm' | 'list' | 'retake' | 'raise' | 'drain' | 'seal' | 'collect' | 'drop';

const STEPS: Readonly<Record<StepName, coterie.peer.CollectionStep>> = {
  survey: CollectionStep.COLLECTION_SURVEY,
  confirm: CollectionStep.COLLECTION_CONFIRM,
  list: CollectionStep.COLLECTION_LIST,
  retake: CollectionStep.COLLECTION_RETAKE,
  raise: CollectionStep.COLLECTION_RAISE,
  drain: CollectionStep.COLLECTION_DRAIN,
  seal: CollectionStep.COLLECTION_SEAL,
  collect: CollectionStep.COLLECTION_COLLECT,
  drop: CollectionStep.COLLECTION_DROP,
};

export interface ItemMessage {
  readonly partition: PartitionId;
  readonly generation: number;
  readonly to: number;
  readonly expiredByMs: number;
  readonly slice: number;
  readonly keys: readonly ByteString[];
}

export interface CollectionMessage {
  readonly step: StepName;
  readonly items: readonly ItemMessage[];
}

export interface StateMessage {
  /** `''`: none. */
  readonly obstacle: string;
  readonly generation: number;
  readonly least: number;
  readonly floor: number;
  readonly expiredByMs: number;
  readonly requests: number;
  readonly hints: number;
  readonly slices: readonly number[];
  readonly due: boolean;
  readonly young: boolean;
  readonly candidates: readonly { readonly key: ByteString; readonly digest: ByteString }[];
  readonly more: boolean;
}

export interface ReportMessage {
  readonly storeId: StoreId;
  readonly boot: number;
  readonly states: readonly StateMessage[];
}

export function encodeCollection({ step, items }: CollectionMessage): Uint8Array {
  return CollectionRequest.encode({
    step: STEPS[step],
    items: items.map((item) => ({ ...item, keys: item.keys.map((key) => fromByteString(key)) })),
  }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeCollection(payload: Uint8Array): CollectionMessage {
  const message = decodeWire(CollectionRequest, payload);
  const step = (Object.keys(STEPS) as StepName[]).find((name) => STEPS[name] === message.step);
  if (step === undefined) throw new CoterieError('FRAME_INVALID', `there is no step ${String(message.step)} of collecting rounds`);
  const items = message.items.map((item) => ({
    partition: partitionId(item.partition ?? 0),
    generation: item.generation ?? 0,
    to: item.to ?? 0,
    expiredByMs: u53(item.expiredByMs ?? 0, 'expired_by_ms'),
    slice: item.slice ?? 0,
    keys: (item.keys ?? []).map((key) => toByteString(key)),
  }));
  return { step, items };
}

export function encodeReport(report: ReportMessage): Uint8Array {
  return CollectionReply.encode({
    storeId: fromHex(report.storeId) ?? NOTHING,
    boot: report.boot,
    states: report.states.map((state) => ({
      ...state,
      slices: [...state.slices],
      candidates: state.candidates.map(({ key, digest }) => ({ key: fromByteString(key), digest: fromByteString(digest) })),
    })),
  }).finish();
}

/** @throws CoterieError FRAME_INVALID */
export function decodeReport(payload: Uint8Array): ReportMessage {
  const message = decodeWire(CollectionReply, payload);
  if (message.storeId.length !== 16) throw new CoterieError('FRAME_INVALID', 'a store id has 16 bytes');
  const states = message.states.map((state) => ({
    obstacle: state.obstacle ?? '',
    generation: state.generation ?? 0,
    least: state.least ?? 0,
    floor: state.floor ?? 0,
    expiredByMs: u53(state.expiredByMs ?? 0, 'expired_by_ms'),
    requests: state.requests ?? 0,
    hints: u53(state.hints ?? 0, 'hints'),
    slices: state.slices ?? [],
    due: state.due ?? false,
    young: state.young ?? false,
    candidates: (state.candidates ?? []).map(({ key, digest }) => ({
      key: toByteString(key ?? NOTHING),
      digest: toByteString(digest ?? NOTHING),
    })),
    more: state.more ?? false,
  }));
  return { storeId: storeId(toHex(message.storeId)), boot: u53(message.boot, 'boot'), states };
}

const NOTHING = new Uint8Array(0);
