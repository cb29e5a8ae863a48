/**
 * Writes a sealed memtable as a table of level 0. The slabs come as shared memory: the job reads the records, sorts them, keeps the newest
 * of each key, and leaves out what a dropped range took away.
 */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../../base/bytes.ts';
import { invariant } from '../../base/errors.ts';
import type { Job } from '../../env/executor.ts';
import type { SyncVfs } from '../../env/vfs.ts';
import type { KeyRange } from '../key-range.ts';
import { contains } from '../key-range.ts';
import type { TableFormat } from '../sstable/table-writer.ts';
import { TableWriter, WriterBuffers } from '../sstable/table-writer.ts';
import type { TableMeta } from '../sstable/table-meta.ts';
import { FLAG_NO_END, FRAME_DROP, FRAME_HEAD_BYTES, readFrame, RecordView } from '../wal/frame.ts';

export interface FlushMessage {
  readonly directory: string;
  readonly number: number;
  readonly format: TableFormat;
  readonly slabs: readonly { readonly memory: SharedArrayBuffer; readonly used: number }[];
}

/** No table: nothing of the memtable is left to write. */
export interface FlushResult {
  readonly table: TableMeta | undefined;
}

const SORT_RUN = 2048;
const SLICE_RECORDS = 2048;
const SLICE_BYTES = 128 * 1024;

interface Records {
  readonly slabs: readonly Buffer[];
  readonly keys: ByteString[];
  /** Slab and offset of each record, in the order they were written. */
  readonly slabOf: number[];
  readonly at: number[];
  /** Dropped ranges, each with the number of records before it. */
  readonly drops: { readonly range: KeyRange; readonly before: number }[];
}

function* readRecords(message: FlushMessage): Generator<undefined, Records, undefined> {
  const records: Records = {
    slabs: message.slabs.map((slab) => Buffer.from(slab.memory, 0, slab.used)),
    keys: [],
    slabOf: [],
    at: [],
    drops: [],
  };
  const view = new RecordView();
  let sliced = 0;
  for (const [number, bytes] of records.slabs.entries()) {
    let frameAt = 0;
    while (frameAt < bytes.length) {
      const frame = readFrame(bytes, frameAt);
      invariant(frame !== undefined, 'a sealed memtable is made of whole frames');
      let at = frameAt + FRAME_HEAD_BYTES;
      const end = frameAt + frame.length;
      for (let i = 0; i < frame.count; i += 1) {
        invariant(view.read(bytes, at, end), 'a frame holds its records');
        const key = bytes.toString('latin1', view.keyFrom, view.valueFrom);
        if (frame.kind === FRAME_DROP) {
          const to = (view.flags & FLAG_NO_END) === 0 ? bytes.toString('latin1', view.valueFrom, view.valueTo) : undefined;
          records.drops.push({ range: { from: key, to }, before: records.keys.length });
        } else {
          records.keys.push(key);
          records.slabOf.push(number);
          records.at.push(at);
        }
        at = view.next;
        sliced += 1;
      }
      frameAt = end;
      if (sliced >= SLICE_RECORDS) {
        sliced = 0;
        yield undefined;
      }
    }
  }
  return records;
}

/** Record numbers in key order, the newest of a key first: runs sorted one by one, then merged two by two, in slices. */
function* sortRecords(keys: readonly ByteString[]): Generator<undefined, Uint32Array, undefined> {
  const compare = (a: number, b: number): number => {
    const left = keys[a] as ByteString;
    const right = keys[b] as ByteString;
    return left < right ? -1 : left > right ? 1 : b - a;
  };
  const count = keys.length;
  let order = new Uint32Array(count);
  for (let i = 0; i < count; i += 1) order[i] = i;
  for (let from = 0; from < count; from += SORT_RUN) {
    order.subarray(from, Math.min(count, from + SORT_RUN)).sort(compare);
    yield undefined;
  }
  let other = new Uint32Array(count);
  for (let width = SORT_RUN; width < count; width *= 2) {
    let sliced = 0;
    for (let from = 0; from < count; from += 2 * width) {
      const middle = Math.min(count, from + width);
      const end = Math.min(count, from + 2 * width);
      let left = from;
      let right = middle;
      for (let at = from; at < end; at += 1) {
        const takeLeft = left < middle && (right >= end || compare(order[left] as number, order[right] as number) < 0);
        other[at] = (takeLeft ? order[left] : order[right]) as number;
        if (takeLeft) left += 1;
        else right += 1;
        sliced += 1;
        if (sliced >= SLICE_RECORDS) {
          sliced = 0;
          yield undefined;
        }
      }
    }
    [order, other] = [other, order];
  }
  return order;
}

function* flush(message: FlushMessage, disk: SyncVfs): Generator<undefined, FlushResult, undefined> {
  const records = yield* readRecords(message);
  const order = yield* sortRecords(records.keys);
  const view = new RecordView();
  let writer: TableWriter | undefined;
  let last: ByteString | undefined;
  let sliced = 0;
  try {
    for (const record of order) {
      const key = records.keys[record] as ByteString;
      if (key === last) continue;
      last = key;
      if (records.drops.length > 0 && records.drops.some((drop) => drop.before > record && contains(drop.range, key))) continue;
      const bytes = records.slabs[records.slabOf[record] as number] as Buffer;
      view.read(bytes, records.at[record] as number, bytes.length);
      writer ??= new TableWriter(disk, message.directory, message.number, message.format, new WriterBuffers(message.format));
      writer.add(key, view.kind, view.expireAtMs, view.gcTag, bytes, view.valueFrom, view.valueTo);
      sliced += view.valueTo - view.keyFrom + 64;
      if (sliced >= SLICE_BYTES) {
        sliced = 0;
        yield undefined;
      }
    }
    if (writer === undefined) return { table: undefined };
    yield undefined;
    const table = writer.finish([]);
    yield undefined;
    disk.syncDir(message.directory);
    return { table };
  } catch (error) {
    writer?.abandon();
    throw error;
  }
}

export const flushJob: Job<FlushMessage, FlushResult> = { name: 'flushJob', module: import.meta.url, run: flush };
