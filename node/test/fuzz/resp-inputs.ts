/** Wrong, odd and right input for the Redis protocol, from a seed. */

import { COMMANDS } from '../../src/api/resp/table.ts';
import { REFUSALS } from '../../src/api/resp/refusals.ts';
import type { SeededRandom } from '../transport/cluster.ts';

const NAMES = [...COMMANDS.map(({ name }) => name), ...REFUSALS.keys(), 'nosuch', ''].filter((name) => name !== 'quit');
const WORDS = [
  '0',
  '1',
  '-1',
  '10',
  '01',
  '9223372036854775807',
  '9223372036854775808',
  '-9223372036854775808',
  '1.5',
  'EX',
  'PX',
  'EXAT',
  'PXAT',
  'KEEPTTL',
  'NX',
  'R',
  'W',
  'QUORUM',
  'strict',
  'sloppy',
  'TIMEOUT',
  'CONTEXT',
  'ID',
  'MATCH',
  'COUNT',
  'TYPE',
  'string',
  '*',
  '[a-',
  'h?[^x]*\\',
  'default',
  'other',
  'GET',
  'SET',
  'AUTH',
  'SETNAME',
  'GETNAME',
  'INFO',
  'LIST',
  'DOCS',
  '2',
  '3',
  'a',
  'b',
  'c',
  '',
  'ctx 1,2',
  'Y3R4IDE',
  '00112233445566778899aabbccddeeff',
];
const TAMPER = [
  '*',
  '$',
  '\r\n',
  '-1',
  '$-1\r\n',
  '*-1\r\n',
  '*0\r\n',
  '$0\r\n\r\n',
  '99999999999',
  '$536870912\r\n',
  '*65536\r\n',
  '\0',
  '"',
  "'",
  '\n',
  '+OK\r\n',
  'PING\r\n',
];

/** Requests that do something; `K` a key, `V` a value, `N` a number. */
const USES = [
  'get K',
  'set K V',
  'set K V EX N',
  'set K V PXAT N',
  'set K V KEEPTTL',
  'mget K K K',
  'mset K V K V',
  'del K K',
  'unlink K',
  'exists K K',
  'strlen K',
  'ttl K',
  'pttl K',
  'expire K N',
  'pexpire K N',
  'expireat K N',
  'persist K',
  'type K',
  'scan 0',
  'scan N COUNT N',
  'scan 0 MATCH * COUNT 5',
  'dbsize',
  'ping',
  'echo V',
  'hello 2',
  'hello 3',
  'hello 2 SETNAME V',
  'select 0',
  'select other',
  'client id',
  'client list',
  'client info',
  'client setname V',
  'config get *',
  'info',
  'info stats',
  'command',
  'command count',
  'command docs get',
  'command info get V',
  'kv.get K',
  'kv.get K R 1 TIMEOUT 10',
  'kv.put K V',
  'kv.put K V EX N',
  'kv.put K V CONTEXT Y3R4IDE',
  'kv.put K V ID 00112233445566778899aabbccddeeff',
  'kv.del K CONTEXT Y3R4IDIsMw W 1',
];

export class RespInputs {
  readonly #random: SeededRandom;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** Words of a request that parses, whatever its command makes of it. */
  words(): Buffer[] {
    const random = this.#random;
    if (random.below(3) > 0) return this.#use();
    const words = [Buffer.from(this.#pick(NAMES))];
    for (let count = random.below(6); count > 0; count -= 1) {
      words.push(random.below(5) === 0 ? Buffer.from(random.bytes(random.below(40))) : Buffer.from(this.#pick(WORDS)));
    }
    if (random.below(200) === 0) words.push(Buffer.alloc(random.below(30_000), 0x61));
    return words;
  }

  #use(): Buffer[] {
    const random = this.#random;
    return this.#pick(USES)
      .split(' ')
      .map((word) => {
        switch (word) {
          case 'K':
            return Buffer.from(this.#pick(['a', 'b', 'c', '\0', 'good-not']));
          case 'V':
            return Buffer.from(random.bytes(random.below(60)));
          case 'N':
            return Buffer.from(String(random.below(4) === 0 ? random.u32() * 1000 : random.below(20_000)));
          default:
            return Buffer.from(word);
        }
      });
  }

  encode(words: readonly Buffer[]): Buffer {
    const parts: Buffer[] = [Buffer.from(`*${words.length}\r\n`)];
    for (const word of words) parts.push(Buffer.from(`$${word.length}\r\n`), word, Buffer.from('\r\n'));
    return Buffer.concat(parts);
  }

  /** Bytes that may be anything. */
  mutated(): Buffer {
    const random = this.#random;
    switch (random.below(8)) {
      case 0:
        return Buffer.from(random.bytes(random.below(100)));
      case 1:
        return Buffer.from(
          `${this.words()
            .map((word) => word.toString('latin1'))
            .join(' ')}\r\n`,
          'latin1',
        );
      default: {
        let bytes = this.encode(this.words());
        for (let changes = 1 + random.below(3); changes > 0; changes -= 1) bytes = this.#change(bytes);
        return bytes;
      }
    }
  }

  /** The bytes in pieces, as a network may cut them. */
  pieces(bytes: Buffer): Buffer[] {
    const random = this.#random;
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length;) {
      const length = random.below(3) === 0 ? 1 + random.below(8) : bytes.length;
      pieces.push(bytes.subarray(at, at + length));
      at += length;
    }
    return pieces;
  }

  #change(bytes: Buffer): Buffer {
    const random = this.#random;
    const at = random.below(bytes.length + 1);
    const to = Math.min(bytes.length, at + random.below(8));
    switch (random.below(5)) {
      case 0: {
        const changed = Buffer.from(bytes);
        if (at < changed.length) changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
        return changed;
      }
      case 1:
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
      case 2:
        return Buffer.concat([bytes.subarray(0, at), Buffer.from(this.#pick(TAMPER), 'latin1'), bytes.subarray(at)]);
      case 3:
        return Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)]);
      default:
        return bytes.subarray(0, at);
    }
  }

  #pick(from: readonly string[]): string {
    return from[this.#random.below(from.length)] ?? '';
  }
}
