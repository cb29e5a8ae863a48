/**
 * Object v2: the bytes of a strong key's register, on disk and between nodes. All integers are big-endian. It lies under the same disk keys as
 * Object v1 and has its checksum, its digest and the number of its records where that has them. Append-only, as layout.ts.
 *
 *   object   = magic crc digest digest-free header record* value
 *   magic    = 02 'k' 'v' 'o'                                         version 2
 *   crc      = u32     CRC-32 of every byte after it, to the end
 *   digest   = 8       hash of `header`: the state, without records and value bytes
 *   digest-free = u8 records (0..32) | 3 zero
 *   header   = u8 kind (0 nothing written yet, 1 value, 2 deleted) | u8 zero | 36 tag (zeros where nothing was written) | u32 value length
 *   record   = 16 id | 8 body hash | 36 ballot | 36 tag | u64 rank | u8 flags (bit 0: existed)      newest first
 *   value    = to the last byte
 *
 * A register has exactly one encoding: the decoder refuses whatever the encoder would not write.
 */

import { AT_HEADER } from './layout.ts';
import { BODY_HASH_BYTES, OPERATION_ID_BYTES } from './object.ts';
import { TAG_BYTES } from './tag.ts';

/** 02 'k' 'v' 'o'. */
export const REGISTER_MAGIC = 0x026b766f;

export const AT_RECORDS = 16;
export const AT_KIND: number = AT_HEADER;
export const AT_TAG: number = AT_HEADER + 2;
export const AT_VALUE_LENGTH: number = AT_TAG + TAG_BYTES;
/** First byte that is not under the digest. */
export const REGISTER_HEADER_BYTES: number = AT_VALUE_LENGTH + 4;

export const KIND_NOTHING = 0;
export const KIND_VALUE = 1;
export const KIND_DELETED = 2;

export const RECORD_BYTES: number = OPERATION_ID_BYTES + BODY_HASH_BYTES + 2 * TAG_BYTES + 8 + 1;
