/**
 * Failures as RESP errors. The class, the first word, is the contract: `ERR` wrong use, `BUSY` shed before any effect, `TIMEOUT` outcome
 * unknown, `NOQUORUM` refused before any effect, `READONLY` disk full, and Redis' own for access. Behind it comes Coterie's code, then the text.
 */

import type { CoterieError } from '../../base/errors.ts';
import { failureKind, writeOutcome } from '../failure.ts';

/** A refusal in Redis' own words. */
export class ReplyError extends Error {
  override readonly name = 'ReplyError';
  /** The reply without its `-`. */
  readonly reply: string;

  constructor(reply: string) {
    super(reply);
    this.reply = reply;
  }
}

export function isReplyError(error: unknown): error is ReplyError {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === 'ReplyError' && 'reply' in error;
}

export function syntaxError(): ReplyError {
  return new ReplyError('ERR syntax error');
}

export function wrongArity(name: string): ReplyError {
  return new ReplyError(`ERR wrong number of arguments for '${name}' command`);
}

export function notAnInteger(): ReplyError {
  return new ReplyError('ERR value is not an integer or out of range');
}

/** @param writes the failed command changes keys, so that it may have done so */
export function replyOf(error: CoterieError, writes: boolean): string {
  return `${replyClass(error, writes)} ${error.code} ${error.message}`;
}

function replyClass(error: CoterieError, writes: boolean): string {
  if (writes && writeOutcome(error) === 'unknown') return 'TIMEOUT';
  switch (failureKind(error.code)) {
    case 'request':
    case 'conflict':
    case 'internal':
      return 'ERR';
    case 'access':
      return error.code === 'UNAUTHORIZED' ? 'NOAUTH' : 'NOPERM';
    case 'busy':
      return 'BUSY';
    case 'unavailable':
      return 'NOQUORUM';
    case 'timeout':
      return 'TIMEOUT';
    case 'full':
      return 'READONLY';
  }
}
