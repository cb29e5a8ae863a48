/**
 * The bug "torn tail accepted": a commit log whose reader does not check what it reads. Done from outside, by giving every frame that was
 * torn the checksum of what is left of it, with zeros for what is missing at the end. The grammar of frames is in storage/wal/frame.ts.
 */

import { crc32 } from 'node:zlib';
import type { VfsFile } from '../../src/env/vfs.ts';
import { bound } from './wrapped-vfs.ts';

const HEAD_BYTES = 32;
const TAG = 0xc07e1000;
const MOST_BYTES = 1 << 20;

/** The log's bytes with every frame from `from` on, up to the first that has no head, made to pass; `undefined` where all pass already. */
export function withTornFramesPassing(log: Buffer, from: number): Buffer | undefined {
  let bytes = log;
  let accepted = 0;
  for (let at = from; at + HEAD_BYTES <= bytes.length;) {
    const length = bytes.readUInt32LE(at + 4);
    const kind = bytes.readUInt32LE(at + 8) - TAG;
    if (length < HEAD_BYTES || length > MOST_BYTES || length % 8 !== 0 || kind < 1 || kind > 3) break;
    if (at + length > bytes.length) bytes = Buffer.concat([bytes], at + length);
    const sum = crc32(bytes.subarray(at + 4, at + length));
    if (bytes.readUInt32LE(at) !== sum) {
      bytes = Buffer.from(bytes);
      bytes.writeUInt32LE(sum, at);
      accepted += 1;
    }
    at += length;
  }
  return accepted === 0 ? undefined : bytes;
}

/** The log file as it is now, with every torn frame made to look whole. */
export async function withTornFramesAccepted(file: VfsFile, segmentHeadBytes: number): Promise<VfsFile> {
  const found = Buffer.alloc(await file.size());
  await file.read(found, 0);
  const bytes = withTornFramesPassing(found, segmentHeadBytes);
  if (bytes === undefined) return file;
  const readNow = (into: Uint8Array, position: number): number => {
    const part = bytes.subarray(position, position + into.length);
    into.set(part);
    return part.length;
  };
  return {
    ...bound(file),
    size: () => Promise.resolve(bytes.length),
    read: (into, position) => Promise.resolve(readNow(into, position)),
    readSync: readNow,
  };
}
