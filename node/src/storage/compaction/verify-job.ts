/** Reads every byte of one table and checks it: checksums, key order, counts, bounds, and that the filter lets every key pass. */

import { Buffer } from 'node:buffer';
import type { ByteString } from '../../base/bytes.ts';
import type { Job } from '../../env/executor.ts';
import type { SyncVfs } from '../../env/vfs.ts';
import { isMalformed, MalformedError } from '../binary.ts';
import type { DamagedRange } from '../damage.ts';
import { hashKey, mayContain } from '../sstable/bloom.ts';
import { openBlock, TRAILER_BYTES } from '../sstable/codec.ts';
import { decodeFooter, FOOTER_BYTES } from '../sstable/footer.ts';
import type { TableMeta } from '../sstable/table-meta.ts';
import { tableName } from '../sstable/table-meta.ts';
import { TableScan, wholeTable } from '../sstable/table-scan.ts';

export interface VerifyMessage {
  readonly directory: string;
  readonly table: TableMeta;
}

export interface VerifyResult {
  readonly blocks: number;
  readonly bytes: number;
  readonly damaged: readonly DamagedRange[];
}

const SLICE_ENTRIES = 512;

/** The table's filter; `undefined` where it has none. @throws MalformedError */
function readFilter(directory: string, table: TableMeta, disk: SyncVfs): Buffer | undefined {
  const file = disk.open(`${directory}/${tableName(table.number)}`, 'read');
  try {
    const foot = Buffer.alloc(FOOTER_BYTES);
    file.read(foot, table.bytes - FOOTER_BYTES);
    const { offset, length } = decodeFooter(foot).filter;
    if (length === 0) return undefined;
    const stored = Buffer.alloc(length + TRAILER_BYTES);
    if (file.read(stored, offset) !== stored.length) throw new MalformedError('filter cut short', offset);
    return openBlock(stored, table.number, offset);
  } finally {
    file.close();
  }
}

function* verify(message: VerifyMessage, disk: SyncVfs): Generator<undefined, VerifyResult, undefined> {
  const { directory } = message;
  // Masks hide damage from readers; here everything counts.
  const table: TableMeta = { ...message.table, masks: [] };
  const scan = new TableScan(disk, directory, table);
  const damaged: DamagedRange[] = [];
  if (!scan.open()) return { blocks: 0, bytes: 0, damaged: [...scan.damaged] };
  try {
    const filter = readFilter(directory, table, disk);
    const hash = { h1: 0, h2: 0 };
    let last: ByteString | undefined;
    let entries = 0;
    while (scan.next()) {
      const { key } = scan;
      if ((last !== undefined && key <= last) || key < table.min || key > table.max) throw new MalformedError('keys out of order', 0);
      if (filter !== undefined && !mayContain(filter, hashKey(key, hash))) throw new MalformedError('the filter misses a key', 0);
      last = key;
      entries += 1;
      if (entries % SLICE_ENTRIES === 0) yield undefined;
    }
    if (scan.damaged.length === 0 && entries !== table.entries) throw new MalformedError('entries are missing', 0);
  } catch (error) {
    if (!isMalformed(error)) throw error;
    damaged.push(wholeTable(table, 0));
  } finally {
    scan.close();
  }
  return { blocks: scan.blocksRead, bytes: scan.bytesRead, damaged: [...scan.damaged, ...damaged] };
}

export const verifyJob: Job<VerifyMessage, VerifyResult> = { name: 'verifyJob', module: import.meta.url, run: verify };
