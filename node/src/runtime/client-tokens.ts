/** Where the contexts come from that clients are answered: each goes into one answer and is forgotten with it. */

import { BytePool } from '../base/byte-pool.ts';
import type { Allocate } from '../cluster/versioning/codec.ts';

const pool = new BytePool();

export const TOKENS: Allocate = (size) => pool.take(size);
