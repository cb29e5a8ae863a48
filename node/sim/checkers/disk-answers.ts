/** "What is read is what was written, or an error" (DESIGN §4.9): every value shown is, byte for byte, one that a client wrote to that key. */

import type { History, ReadRecord } from '../clients/history.ts';
import type { Violation } from './survival.ts';

export function checkAnswers(history: History, read: Pick<ReadRecord, 'key' | 'node' | 'versions'>): Violation[] {
  for (const version of read.versions) {
    const write = version.number === undefined ? undefined : history.write(version.number);
    if (write?.key === read.key && write.kind === 'put') continue;
    const what =
      write === undefined
        ? `bytes that nobody wrote (${version.shows})`
        : `the value of write ${String(write.number)}, which was none of this key`;
    return [{ checker: 'disk-answers', message: `key ${read.key} at ${read.node}: ${what}` }];
  }
  return [];
}
