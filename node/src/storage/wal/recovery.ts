/**
 * Reads log segments back after a stop of any kind. Everything up to the first frame that does not pass is taken. Whether what follows is a
 * torn tail (a write the disk had not finished: cut) or damage (refused, naming file and offset) is told by the synced length that later
 * frames carry, and by the numbers of the writes, which have no gap from one segment to the next.
 */

import { Buffer } from 'node:buffer';
import type { Vfs } from '../../env/vfs.ts';
import { isMalformed } from '../binary.ts';
import { damagedFile } from '../damage.ts';
import { logName } from '../sstable/table-meta.ts';
import { WriteBatch } from '../write-batch.ts';
import type { Frame } from './frame.ts';
import { FLAG_NO_END, FRAME_DROP, FRAME_HEAD_BYTES, FRAME_MARK, readFrame, RecordView } from './frame.ts';
import type { SegmentHeader } from './segment-header.ts';
import { decodeSegmentHeader, SEGMENT_HEAD_BYTES } from './segment-header.ts';

export interface ReadSegment {
  readonly number: number;
  readonly header: SegmentHeader | undefined;
  readonly bytes: Buffer;
  readonly frames: readonly { readonly at: number; readonly frame: Frame }[];
  /** Where what passes ends. */
  readonly end: number;
  /** Bytes follow that do not pass. */
  readonly torn: boolean;
  /** How many, without the zeros at their end: room that was never written. */
  readonly tornBytes: number;
}

export type Replay =
  | { readonly kind: 'batch'; readonly sequence: number; readonly batch: WriteBatch }
  | { readonly kind: 'drop'; readonly sequence: number; readonly from: string; readonly to: string | undefined };

const READ_BYTES = 4 * 1024 * 1024;

async function readAll(vfs: Vfs, path: string): Promise<Buffer> {
  const file = await vfs.open(path, 'read');
  try {
    const size = await file.size();
    const bytes = Buffer.alloc(size);
    let at = 0;
    while (at < size) {
      const read = await file.read(bytes.subarray(at, Math.min(size, at + READ_BYTES)), at);
      if (read === 0) break;
      at += read;
    }
    return bytes.subarray(0, at);
  } finally {
    await file.close();
  }
}

/** @throws CoterieError DATA_DAMAGED, DATA_DIR_NEWER; VfsError */
export async function readSegment(vfs: Vfs, directory: string, number: number): Promise<ReadSegment> {
  const name = logName(number);
  const bytes = await readAll(vfs, `${directory}/${name}`);
  let header: SegmentHeader | undefined;
  try {
    header = decodeSegmentHeader(bytes);
  } catch (error) {
    if (!isMalformed(error)) throw error;
  }
  const frames: { at: number; frame: Frame }[] = [];
  let end = Math.min(SEGMENT_HEAD_BYTES, bytes.length);
  for (let frame = readFrame(bytes, end); frame !== undefined; frame = readFrame(bytes, end)) {
    frames.push({ at: end, frame });
    end += frame.length;
  }
  let proven = 0;
  for (const { frame } of frames) proven = Math.max(proven, frame.synced);
  if (header === undefined && proven > 0) throw damagedFile(name, 0, 'the header does not pass its checksum');
  if (header !== undefined && header.number !== number) throw damagedFile(name, 16, 'the file is another segment');
  const torn = end < bytes.length;
  if (torn) {
    for (let at = end + 8; at + FRAME_HEAD_BYTES <= bytes.length; at += 8) {
      const frame = readFrame(bytes, at);
      if (frame === undefined) continue;
      proven = Math.max(proven, frame.synced);
      at += frame.length - 8;
    }
  }
  if (proven > end) throw damagedFile(name, end, 'a frame that was synced does not pass its checksum');
  let used = bytes.length;
  while (used > end && bytes[used - 1] === 0) used -= 1;
  return { number, header, bytes, frames, end, torn, tornBytes: used - end };
}

/** What a frame did; `undefined` for a mark. @throws CoterieError DATA_DAMAGED for a frame that passes its checksum and makes no sense */
export function replayOf(segment: ReadSegment, at: number, frame: Frame): Replay | undefined {
  if (frame.kind === FRAME_MARK) return undefined;
  const { bytes } = segment;
  const view = new RecordView();
  const end = at + frame.length;
  let position = at + FRAME_HEAD_BYTES;
  const batch = new WriteBatch();
  for (let i = 0; i < frame.count; i += 1) {
    if (!view.read(bytes, position, end)) throw damagedFile(logName(segment.number), position, 'a record is out of range');
    const key = bytes.toString('latin1', view.keyFrom, view.valueFrom);
    if (frame.kind === FRAME_DROP) {
      const to = (view.flags & FLAG_NO_END) === 0 ? bytes.toString('latin1', view.valueFrom, view.valueTo) : undefined;
      return { kind: 'drop', sequence: frame.sequence, from: key, to };
    }
    batch.keys.push(key);
    batch.values.push(bytes.subarray(view.valueFrom, view.valueTo));
    batch.kinds.push(view.kind);
    batch.expiries.push(view.expireAtMs);
    batch.gcTags.push(view.gcTag);
    position = view.next;
  }
  return { kind: 'batch', sequence: frame.sequence, batch };
}
