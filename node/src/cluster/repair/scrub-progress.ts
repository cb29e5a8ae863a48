/**
 * How far the rereading of a store has come, as it is written down. One line of text: `coterie-scrub <format> <crc32 of what follows, 8 hexadecimal
 * digits>`, then the five numbers, each behind a space. What cannot be read is no loss: the pass begins anew.
 */

import { type ByteString, fromByteString } from '../../base/bytes.ts';
import { crc32 } from '../../base/hash.ts';

export interface ScrubProgress {
  /** When the latest pass began, and when one was last completed, in wall-clock ms; 0: never. */
  readonly startedMs: number;
  readonly completedMs: number;
  /** Of the latest pass: the last table and the last partition that are done; -1: none. */
  readonly lastTable: number;
  readonly lastPartition: number;
  /** Damage was met and is not made up for: the next start must find it again. */
  readonly suspect: boolean;
}

export const NOT_SCRUBBED: ScrubProgress = { startedMs: 0, completedMs: 0, lastTable: -1, lastPartition: -1, suspect: false };

const MAGIC = 'coterie-scrub 1';

export function encodeScrub({ startedMs, completedMs, lastTable, lastPartition, suspect }: ScrubProgress): Uint8Array {
  const body = ` ${[startedMs, completedMs, lastTable, lastPartition, suspect ? 1 : 0].join(' ')}`;
  const crc = crc32(fromByteString(body)).toString(16).padStart(8, '0');
  return fromByteString(`${MAGIC} ${crc}${body}\n`);
}

/** Undefined where it cannot be used. */
export function decodeScrub(text: ByteString): ScrubProgress | undefined {
  const found = /^coterie-scrub 1 ([0-9a-f]{8})( (\d{1,16}) (\d{1,16}) (-1|\d{1,16}) (-1|\d{1,16}) [01])\n$/.exec(text);
  if (found === null) return undefined;
  const [, crc, body = ''] = found;
  if (crc32(fromByteString(body)).toString(16).padStart(8, '0') !== crc) return undefined;
  const [startedMs = 0, completedMs = 0, lastTable = -1, lastPartition = -1, suspect] = body.trim().split(' ').map(Number);
  return { startedMs, completedMs, lastTable, lastPartition, suspect: suspect === 1 };
}
