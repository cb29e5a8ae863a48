/**
 * The bug "torn tail accepted": a commit log whose reader does not check what it reads. Done from outside, by giving every frame that was
 * torn the checksum of what is left of it. The grammar of frames is in storage/wal/frame.ts.
 */

import { crc32 } from 'node:zlib';
import type { VfsFile } from '../../src/env/vfs.ts';
import { bound } from './wrapped-vfs.ts';

const HEAD_BYTES = 32;
const TAG = 0xc07e1000;

/** Makes every frame of the log's bytes pass its checksum, from `at` to the first that has no head. */
export function acceptTornFrames(bytes: Buffer, from: number): number {
  let accepted = 0;
  for (let at = from; at + HEAD_BYTES <= bytes.length;) {
    const length = bytes.readUInt32LE(at + 4);
    const kind = bytes.readUInt32LE(at + 8) - TAG;
    if (length < HEAD_BYTES || length % 8 !== 0 || at + length > bytes.length || kind < 1 || kind > 3) return accepted;
    const sum = crc32(bytes.subarray(at + 4, at + length));
    if (bytes.readUInt32LE(at) !== sum) {
      bytes.writeUInt32LE(sum, at);
      accepted += 1;
    }
    at += length;
  }
  return accepted;
}

/** The log file as it is now, with every torn frame made to look whole. */
export async function withTornFramesAccepted(file: VfsFile, segmentHeadBytes: number): Promise<VfsFile> {
  const bytes = Buffer.alloc(await file.size());
  await file.read(bytes, 0);
  if (acceptTornFrames(bytes, segmentHeadBytes) === 0) return file;
  const readNow = (into: Uint8Array, position: number): number => {
    const part = bytes.subarray(position, position + into.length);
    into.set(part);
    return part.length;
  };
  return { ...bound(file), read: (into, position) => Promise.resolve(readNow(into, position)), readSync: readNow };
}
