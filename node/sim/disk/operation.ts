/** What a simulated volume is asked to do, what may become of it, and how a crashed process feels it. */

import type { MediumChange } from './medium.ts';

export type OperationKind = MediumChange['kind'] | 'open' | 'read' | 'list' | 'stat' | 'lock';

export interface Operation {
  readonly kind: OperationKind;
  readonly path: string;
  /** Bytes to read or write; 0 for the others. */
  readonly bytes: number;
  /** Where in the file a `read` or `write` starts; 0 for the others. */
  readonly position: number;
  /** True for `create`, `mkdir`, `write`, `truncate`, `dataSync`, `rename`, `unlink` and `syncDir`. */
  readonly changes: boolean;
  /** Its number among the operations with the same `changes`. */
  readonly index: number;
  /** Whether a job, a `readSync` or a `writeSync` did it, holding its thread. */
  readonly synchronous: boolean;
}

/** `ignored`: the disk reports it as done and does nothing. */
export type Verdict = 'ok' | 'ignored' | 'no-space' | 'io' | 'power-loss' | 'process-death';

/** What the synchronous calls of a fenced mount throw. It is no VfsError: nothing may mistake it for a failure to handle. */
export class Fenced extends Error {
  override readonly name = 'Fenced';
  constructor() {
    super('this process has crashed; nothing that it does has an effect');
  }
}
