/** "A typed refusal comes before any effect": what a client was told to be without effect is never shown. */

import type { History, ReadRecord } from '../clients/history.ts';
import { tell, type Violation } from './survival.ts';

export function checkRefusals(history: History, read: Pick<ReadRecord, 'key' | 'node' | 'versions'>): Violation[] {
  for (const { number } of read.versions) {
    const write = number === undefined ? undefined : history.write(number);
    if (write?.key !== read.key || write.outcome !== 'none') continue;
    return [
      { checker: 'refusals', message: `key ${read.key} at ${read.node}: ${tell(write)} was refused before any effect, and is shown` },
    ];
  }
  return [];
}
