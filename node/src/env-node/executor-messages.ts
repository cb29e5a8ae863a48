/** What crosses between the loop and the worker of NodeExecutor. */

import { CoterieError, isCoterieError, type ErrorCode } from '../base/errors.ts';
import type { JobPriority } from '../env/executor.ts';
import { isVfsError, VfsError, type VfsErrorCode } from '../env/vfs.ts';

export interface JobRequest {
  readonly id: number;
  /** URL of the module and name of its export that is the job. */
  readonly module: string;
  readonly name: string;
  readonly message: unknown;
  readonly priority: JobPriority;
}

/** The share of the worker's time that background jobs may take from now on. */
export interface PaceOrder {
  readonly share: number;
}

export type JobReply =
  | { readonly id: number; readonly kind: 'done'; readonly result: unknown }
  | { readonly id: number; readonly kind: 'failed'; readonly failure: Failure };

/** An error as plain data: structured cloning would lose its `name` and `code`. */
export type Failure =
  | { readonly kind: 'coterie'; readonly code: ErrorCode; readonly message: string; readonly stack: string | undefined }
  | {
      readonly kind: 'vfs';
      readonly code: VfsErrorCode;
      readonly path: string;
      readonly message: string;
      readonly stack: string | undefined;
    }
  | {
      readonly kind: 'other';
      readonly name: string;
      readonly code: string | undefined;
      readonly message: string;
      readonly stack: string | undefined;
    };

export function toFailure(error: unknown): Failure {
  if (isCoterieError(error)) return { kind: 'coterie', code: error.code, message: error.message, stack: error.stack };
  if (isVfsError(error)) return { kind: 'vfs', code: error.code, path: error.path, message: error.message, stack: error.stack };
  if (Error.isError(error)) {
    const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
    return { kind: 'other', name: error.name, code, message: error.message, stack: error.stack };
  }
  return { kind: 'other', name: 'Error', code: undefined, message: String(error), stack: undefined };
}

export function fromFailure(failure: Failure): Error {
  const error = revive(failure);
  error.message = failure.message;
  if (failure.stack !== undefined) error.stack = failure.stack;
  return error;
}

function revive(failure: Failure): Error {
  switch (failure.kind) {
    case 'coterie':
      return new CoterieError(failure.code, failure.message);
    case 'vfs':
      return new VfsError(failure.code, failure.path, 'job');
    case 'other': {
      const error = new Error(failure.message);
      error.name = failure.name;
      return failure.code === undefined ? error : Object.assign(error, { code: failure.code });
    }
  }
}
