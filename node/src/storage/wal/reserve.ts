/**
 * Room ahead of the log's end: zeros, written before the writes come. A sync of bytes that take the place of others brings only them to the disk;
 * one that makes the file longer must also bring its new length, which costs the processor and the disk about as much again.
 *
 * Zeros pass no checksum, so a reader takes them for what they are: nothing. Room serves speed alone: where it cannot be had, the log is
 * appended to, and what is wrong with the file shows at the next write or sync.
 */

import type { Segment } from './segment.ts';

/** So much at a time, at most. A small segment gets as much as it holds, */
const RESERVE_BYTES = 512 * 1024;
/** and a smaller one nothing. */
const LEAST_BYTES = 4096;
export const ZEROS: Uint8Array = new Uint8Array(RESERVE_BYTES);

/** How many zeros go before the next bytes of a log that has come to `position`. */
export function roomAt(position: number): number {
  return position < LEAST_BYTES ? 0 : Math.min(RESERVE_BYTES, position);
}

/** Makes room behind a segment that has used up what it had; the sync that follows the write covers it too. */
export async function reserve(segment: Segment): Promise<void> {
  const { file, position } = segment;
  const length = roomAt(position);
  if (file === undefined || segment.sealed || position <= segment.reserved || length === 0) return;
  segment.reserved = position + length;
  await file.write(ZEROS.subarray(0, length), position).catch(() => undefined);
}

/** Gives back what was not used. */
export async function release(segment: Segment): Promise<void> {
  const { file, position } = segment;
  if (file === undefined || segment.broken || position >= segment.reserved) return;
  segment.reserved = 0;
  await file.truncate(position).catch(() => undefined);
}
