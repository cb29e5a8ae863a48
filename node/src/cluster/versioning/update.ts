import type { ByteString } from '../../base/bytes.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { Context } from './context.ts';
import type { HybridTime } from './hlc.ts';
import type { Dot, KvObject } from './object.ts';

/** The client's name for a write, for safe retries. */
export interface Operation {
  /** 16 bytes. */
  readonly id: ByteString;
  /** 8 bytes over everything that makes the request the same write (kind, value, expiry, context); a retry must repeat it. */
  readonly bodyHash: ByteString;
}

interface MutationBase {
  /** What the client has seen; absent for a blind write. */
  readonly context?: Context | undefined;
  readonly operation?: Operation | undefined;
}

export type Mutation =
  | (MutationBase & {
      readonly kind: 'put';
      readonly value: Uint8Array;
      /** Wall-clock milliseconds; 0 for never. */
      readonly expireAtMs: number;
      /** Take the expiry of the newest value instead. */
      readonly keepTtl: boolean;
    })
  | (MutationBase & { readonly kind: 'delete' })
  | (MutationBase & { readonly kind: 'expire'; /** Wall-clock milliseconds; 0 to persist. */ readonly atMs: number });

/** What the coordinator lends to one write. */
export interface WriteStamp {
  /** Mints a dot: of this store's present actor, with a counter never used before, from a durable lease. Called at most once. */
  dot(): Dot;
  /** A fresh time of this node's hybrid clock. */
  readonly time: HybridTime;
  /** The wall clock, for expiry. */
  readonly nowMs: number;
  /**
   * Every current primary is known to hold exactly `local`'s clock, and no fallback, hint or stream holds a write of this partition that was
   * not delivered: only then may the clock be truncated. Absent means no.
   */
  readonly clockConfirmed?: boolean | undefined;
}

export type WriteWarning = 'siblings-many' | 'clock-large';

export type Applied =
  | { readonly kind: 'applied'; readonly object: KvObject; readonly existed: boolean; readonly warnings: readonly WriteWarning[] }
  /** The operation id is known, with the same body: the object holds the write (or what replaced it) already. Replicate it and answer as before. */
  | { readonly kind: 'repeated'; readonly object: KvObject; readonly existed: boolean }
  /** Nothing to do: no live value to expire (`existed` false), or no expiry to remove (`existed` true). */
  | { readonly kind: 'unchanged'; readonly object: KvObject; readonly existed: boolean }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string };

export function applyWrite(local: KvObject, write: Mutation, stamp: WriteStamp): Applied {
  throw new Error(`not yet: ${String(local)} ${String(write)} ${String(stamp)}`);
}
