/** A replica meeting an encoded register: as reconcile.ts, with which it shares its answers. Tags are compared in place where no records are. */

import type { Checksum } from '../../base/hash.ts';
import { readHeader } from './codec.ts';
import type { Reconciled } from './reconcile.ts';
import { holds, mergeRegisters } from './register.ts';
import { decodeRegister, decodeVerifiedRegister, encodeRegister, readTag } from './register-codec.ts';
import { AT_RECORDS } from './register-layout.ts';

const KEEP: Reconciled = { kind: 'keep' };

/**
 * @param incoming an encoded register whose checksum was verified
 * @throws CoterieError DATA_DAMAGED when `incoming` or `local` is damaged, or `local` is no register
 */
export function reconcileRegisters(local: Uint8Array | undefined, incoming: Uint8Array, checksum: Checksum): Reconciled {
  if (local !== undefined && incoming[AT_RECORDS] === 0 && readTag(incoming) <= readTag(local)) return KEEP;
  const theirs = decodeVerifiedRegister(incoming);
  if (local === undefined) return { kind: 'store', bytes: incoming, header: readHeader(incoming) };
  const mine = decodeRegister(local, checksum);
  if (holds(mine, theirs)) return KEEP;
  if (holds(theirs, mine)) return { kind: 'store', bytes: incoming, header: readHeader(incoming) };
  const bytes = encodeRegister(mergeRegisters(mine, theirs), checksum);
  return { kind: 'store', bytes, header: readHeader(bytes) };
}
