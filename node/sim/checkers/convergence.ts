/**
 * "When faults stop, all replicas of every partition become equal" (DESIGN §4.5): here after one read of each key.
 *
 * Each replica's stored bytes are taken as they lie in its engine. Operation records are left out of the comparison, as the clock digest
 * leaves them out: what must be equal is the digest, and the values with their expiries.
 */

import type { SeenVersion } from '../clients/history.ts';
import type { Violation } from './survival.ts';

export interface ReplicaCopy {
  readonly node: string;
  /** `undefined`: the replica has nothing for the key. */
  readonly digest: string | undefined;
  readonly versions: readonly SeenVersion[];
}

function outline(copy: ReplicaCopy): string {
  const versions = copy.versions.map((version) => `${String(version.number ?? version.shows)}@${String(version.expireAtMs)}`).sort();
  return `${copy.digest ?? 'nothing'} [${versions.join(' ')}]`;
}

export function checkConvergence(key: string, copies: readonly ReplicaCopy[]): Violation[] {
  const outlines = copies.map(outline);
  if (outlines.every((one) => one === outlines[0])) return [];
  const told = copies.map((copy, at) => `${copy.node}: ${outlines[at] ?? ''}`).join('; ');
  return [{ checker: 'convergence', message: `key ${key}: the replicas differ: ${told}` }];
}
