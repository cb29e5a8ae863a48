/** How clients say which replicas may count. */

import { CoterieError } from '../base/errors.ts';
import type { QuorumKind } from '../runtime/kv.ts';

/** @throws CoterieError QUORUM_INVALID */
export function quorumKindOf(text: string): QuorumKind {
  if (text === 'strict' || text === 'sloppy') return text;
  throw new CoterieError('QUORUM_INVALID', 'the quorum is strict or sloppy');
}
