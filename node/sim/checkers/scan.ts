/** "Every key present from the first call to the last one is answered at least once", and none that never was. */

import type { Violation } from './survival.ts';

export interface ScanAnswer {
  readonly node: string;
  readonly keys: readonly string[];
}

/**
 * @param scan a whole pass, page by page
 * @param before the keys that had a value that does not expire, before the pass and after it
 * @param ever every key that was ever written
 */
export function checkScan(scan: ScanAnswer, before: readonly string[], ever: readonly string[]): Violation[] {
  const missing = before.find((key) => !scan.keys.includes(key));
  if (missing !== undefined) return [{ checker: 'scan', message: `a scan at ${scan.node} leaves out ${missing}` }];
  const foreign = scan.keys.find((key) => !ever.includes(key));
  if (foreign !== undefined) {
    return [{ checker: 'scan', message: `a scan at ${scan.node} answers ${JSON.stringify(foreign)}, which nobody wrote` }];
  }
  return [];
}
