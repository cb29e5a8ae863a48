/** Maps the errors of the system's file calls to `VfsError`s. */

import { VfsError, type VfsErrorCode } from '../env/vfs.ts';

/** The system's code of a failed call (`ENOENT`), or an empty text. */
export function systemCode(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function vfsCode(error: unknown): VfsErrorCode {
  switch (systemCode(error)) {
    case 'ENOENT':
      return 'NOT_FOUND';
    case 'EEXIST':
      return 'EXISTS';
    case 'ENOSPC':
    case 'EDQUOT':
      return 'NO_SPACE';
    case 'EBADF':
    case 'ERR_OUT_OF_RANGE':
      return 'CLOSED';
    default:
      return 'IO';
  }
}

/** @param operation the call that failed, for the message */
export function asVfsError(error: unknown, path: string, operation: string): VfsError {
  return new VfsError(vfsCode(error), path, operation, { cause: error });
}
