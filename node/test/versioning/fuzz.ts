/**
 * Fuzzes the codecs of objects and contexts; a plain Node program, because jest's vm costs most of the time. Prints one line of JSON.
 *
 *   node fuzz.ts [iterations] [seed]
 *
 * Mutated encodings, with their checksum (and digest) left wrong or made right again, must decode to an object that encodes to the same
 * bytes, or give the coded error.
 */

import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { isCoterieError } from '../../src/base/errors.ts';
import { clusterId } from '../../src/base/ids.ts';
import { decodeObject, encodeObject, readHeader } from '../../src/cluster/versioning/codec.ts';
import { contextOf, decodeContext, encodeContext } from '../../src/cluster/versioning/context.ts';
import { writeDigest } from '../../src/cluster/versioning/digest.ts';
import { AT_CHECKED, AT_CRC, readLayout } from '../../src/cluster/versioning/layout.ts';
import { peekVersion } from '../../src/cluster/versioning/peek.ts';
import { reconcileEncoded } from '../../src/cluster/versioning/reconcile.ts';
import { History, anyStep } from './history.ts';

const iterations = Number(process.argv[2] ?? 200_000);
let state = Number(process.argv[3] ?? 1);

function random(bound: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % bound;
}

function writeCrc(bytes: Uint8Array, at: number, crc: number): void {
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(at, crc);
}

function mutate(original: Uint8Array): Uint8Array {
  let bytes = Uint8Array.from(original);
  for (let changes = 1 + random(4); changes > 0; changes -= 1) {
    const at = random(Math.max(1, bytes.length));
    switch (random(5)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
        break;
      case 1:
        bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)] ?? 0;
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      case 3: {
        const piece = bytes.slice(at, at + 1 + random(40));
        const joined = new Uint8Array(bytes.length + piece.length);
        joined.set(bytes.subarray(0, at));
        joined.set(piece, at);
        joined.set(bytes.subarray(at), at + piece.length);
        bytes = joined;
        break;
      }
      default:
        bytes.copyWithin(at, random(Math.max(1, bytes.length)), random(Math.max(1, bytes.length)));
    }
  }
  return bytes;
}

function repair(bytes: Uint8Array): void {
  if (bytes.length < AT_CHECKED) return;
  const layout = readLayout(bytes);
  if (layout !== undefined && random(4) !== 0) writeDigest(bytes, layout.extrasAt);
  writeCrc(bytes, AT_CRC, crc32(bytes.subarray(AT_CHECKED)));
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

const histories = fc.sample(fc.array(anyStep, { minLength: 20, maxLength: 80, size: 'max' }), { seed: 5, numRuns: 60 });
const objects = histories.flatMap((steps) => new History().run(steps).objects());
const place = { clusterId: clusterId('0123456789abcdef'.repeat(2)), bucketId: 1, key: 'key' };
const encodings = objects.map((object) => encodeObject(object, crc32));
const tokens = objects.map((object) => encodeContext(contextOf(object), place, crc32));

const counts = { iterations, objects: objects.length, damaged: 0, accepted: 0, unchanged: 0, contextsRefused: 0, contextsAccepted: 0 };
const failures: string[] = [];

function attempt(what: string, codes: readonly string[], run: () => void): void {
  try {
    run();
  } catch (error) {
    if (isCoterieError(error) && codes.includes(error.code)) {
      if (what === 'decode') counts.damaged += 1;
      if (what === 'context') counts.contextsRefused += 1;
      return;
    }
    failures.push(`${what}: ${String(error)}`);
  }
}

for (let i = 0; i < iterations && failures.length < 10; i += 1) {
  const original = encodings[random(encodings.length)] ?? new Uint8Array();
  const bytes = mutate(original);
  if (random(8) !== 0) repair(bytes);
  attempt('decode', ['DATA_DAMAGED'], () => {
    const object = decodeObject(bytes, crc32);
    if (!same(encodeObject(object, crc32), bytes)) failures.push(`accepted, but encodes otherwise: ${String(bytes)}`);
    if (same(bytes, original)) counts.unchanged += 1;
    else counts.accepted += 1;
  });
  attempt('header', ['DATA_DAMAGED'], () => readHeader(bytes));
  attempt('peek', ['DATA_DAMAGED'], () => peekVersion(bytes));
  attempt('reconcile', ['DATA_DAMAGED'], () => reconcileEncoded(random(2) === 0 ? undefined : original, bytes, crc32));
  const token = mutate(tokens[random(tokens.length)] ?? new Uint8Array());
  if (token.length > 4 && random(8) !== 0) writeCrc(token, token.length - 4, crc32(token.subarray(0, token.length - 4)));
  attempt('context', ['CONTEXT_BROKEN', 'CONTEXT_FOREIGN'], () => {
    if (!same(encodeContext(decodeContext(token, place, crc32), place, crc32), token)) {
      failures.push(`context encodes otherwise: ${String(token)}`);
    }
    counts.contextsAccepted += 1;
  });
}

console.log(JSON.stringify({ ...counts, failures }));
