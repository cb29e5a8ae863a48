import type { HybridTime } from './hlc.ts';
import type { KvObject } from './object.ts';

/** A value as a client sees it. */
export interface PresentedVersion {
  readonly value: Uint8Array;
  readonly expireAtMs: number;
  readonly time: HybridTime;
}

export function present(object: KvObject, nowMs: number): readonly PresentedVersion[] {
  throw new Error(`not yet: ${String(object)} ${String(nowMs)}`);
}
