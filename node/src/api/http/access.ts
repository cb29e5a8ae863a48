/** Who a request comes from: `Authorization: Basic` (name and secret) or `Bearer` (a secret). */

import { Buffer } from 'node:buffer';

import { CoterieError } from '../../base/errors.ts';
import { EVERYBODY, type Gate, type Identity } from '../credentials.ts';

const SCHEME = /^(basic|bearer) +([A-Za-z0-9._~+/=-]+) *$/i;

/** @throws CoterieError UNAUTHORIZED, the same for every way to be wrong */
export function identify(gate: Gate, authorization: string | undefined): Identity {
  if (gate.open) return EVERYBODY;
  const [, scheme, text] = SCHEME.exec(authorization ?? '') ?? [];
  let identity: Identity | undefined;
  if (scheme !== undefined && text !== undefined) {
    if (scheme.toLowerCase() === 'bearer') {
      identity = gate.admit(undefined, Buffer.from(text, 'latin1'));
    } else {
      const pair = Buffer.from(text, 'base64');
      const colon = pair.indexOf(':');
      if (colon >= 0) identity = gate.admit(pair.toString('utf8', 0, colon), pair.subarray(colon + 1));
    }
  }
  if (identity === undefined) throw new CoterieError('UNAUTHORIZED', 'credentials are needed: Authorization: Basic or Bearer');
  return identity;
}
