import { describe, expect, test } from '@jest/globals';

import type { ErrorCode } from '../../src/base/errors.ts';
import type { PartitionId } from '../../src/base/ids.ts';
import {
  type ComparisonOut,
  type ComparisonResult,
  type ComparisonState,
  comparisonStep,
  type LeafItem,
  newComparison,
} from '../../src/cluster/repair/comparison.ts';
import type { NodeHash } from '../../src/cluster/repair/hash-trees.ts';
import {
  newRefill,
  type RefillEntry,
  type RefillOut,
  refillQuorum,
  type RefillState,
  refillStep,
} from '../../src/cluster/repair/refill.ts';
import { leafRange, leavesTouched } from '../../src/cluster/repair/tree-shape.ts';
import { tokenSpace } from '../../src/cluster/ring/token.ts';
import { fields, play, transcripts, MachineTranscript } from '../quorum/transcript.ts';

const DATA = new URL('testdata/', import.meta.url);
const SPACE = tokenSpace('0123456789abcdef', 1);

/** `?` is an unknown node. */
function hash(text: string | undefined): NodeHash {
  return text === '?' ? { hi: 0, lo: 0, known: false } : { hi: 0, lo: Number(text ?? 0), known: true };
}

/** `a1,b2`: keys and digests. */
function items(text: string | undefined): LeafItem[] {
  return (text ?? '')
    .split(',')
    .filter((item) => item !== '')
    .map((item) => ({ key: item[0] ?? '', digest: item.slice(1) }));
}

class ComparisonTranscript extends MachineTranscript implements ComparisonOut {
  #state: ComparisonState = newComparison(SPACE, 0 as PartitionId);
  #own = new Map<string, NodeHash>();
  #asked: readonly number[] = [];

  protected perform(verb: string, words: readonly string[]): void {
    switch (verb) {
      case 'compare':
        this.#state = newComparison(SPACE, 0 as PartitionId);
        this.#own = new Map();
        break;
      case 'own':
        this.#own.set(`${words[0] ?? ''} ${words[1] ?? ''}`, hash(words[2]));
        break;
      case 'start':
        comparisonStep(this.#state, { kind: 'start', root: hash(words[0]) }, this);
        break;
      case 'nodes': {
        const given = fields(words);
        const hashes = this.#asked.map((_, at) => hash(given['all'] ?? given[String(at)]));
        comparisonStep(this.#state, { kind: 'nodes', hashes }, this);
        break;
      }
      case 'items': {
        const { own, theirs, end } = fields(words);
        comparisonStep(this.#state, { kind: 'items', own: items(own), theirs: items(theirs), end }, this);
        break;
      }
      case 'moved':
        comparisonStep(this.#state, { kind: 'moved' }, this);
        break;
      case 'failed':
        comparisonStep(this.#state, { kind: 'failed', code: words[0] as ErrorCode }, this);
        break;
      default:
        throw new Error(`no command ${verb}`);
    }
  }

  own(level: number, index: number): NodeHash {
    return this.#own.get(`${String(level)} ${String(index)}`) ?? hash('0');
  }

  askNodes(level: number, indexes: readonly number[]): void {
    this.#asked = indexes;
    this.note(`ask level ${String(level)}: ${String(indexes[0])}-${String(indexes.at(-1))}`);
  }

  askItems(from: string, to: string | undefined): void {
    const last = to === undefined ? 255 : leavesTouched(SPACE, '', to).last;
    const resumed = from.length < 8 || from !== leafRange(SPACE, 0 as PartitionId, leavesTouched(SPACE, from, to).first).from;
    const first = resumed ? last - 1 : leavesTouched(SPACE, from, to).first;
    this.note(`items${resumed ? ` from ${from}` : ''} of leaves ${String(first)}-${String(last)}`);
  }

  move(fetch: readonly string[], send: readonly string[]): void {
    this.note(`move fetch=${fetch.join(',')} send=${send.join(',')}`);
  }

  done(result: ComparisonResult): void {
    this.note(`done ${result}`);
  }

  fail(code: ErrorCode): void {
    this.note(`fail ${code}`);
  }
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

class RefillTranscript extends MachineTranscript implements RefillOut {
  #state: RefillState = newRefill(1, '', undefined);

  protected perform(verb: string, words: readonly string[]): void {
    switch (verb) {
      case 'refill': {
        const { needed, from = '', to } = fields(words);
        this.#state = newRefill(Number(needed), from, to);
        break;
      }
      case 'start':
        refillStep(this.#state, { kind: 'start', members: words.map(Number) }, this);
        break;
      case 'page': {
        const [member, ...rest] = words;
        const entries = rest
          .filter((word) => word.includes(':'))
          .map((word) => ({ key: word[0] ?? '', object: Buffer.from(word.slice(2)) }));
        const { end = this.#state.to } = fields(rest.filter((word) => word.startsWith('end=')));
        refillStep(this.#state, { kind: 'page', member: Number(member), entries, end, whole: !rest.includes('torn') }, this);
        break;
      }
      case 'refused':
        refillStep(this.#state, { kind: 'refused', member: Number(words[0]) }, this);
        break;
      case 'stored':
      case 'healed':
      case 'failed':
        refillStep(this.#state, { kind: verb }, this);
        break;
      default:
        throw new Error(`no command ${verb}`);
    }
  }

  ask(member: number, from: string, to: string | undefined): void {
    this.note(`ask ${String(member)} from ${from} to ${to ?? '-'}`);
  }

  merge(a: Uint8Array, b: Uint8Array): Uint8Array {
    return Buffer.from([...new Set(text(a) + text(b))].sort().join(''));
  }

  store(entries: readonly RefillEntry[]): void {
    this.note(['store', ...entries.map(({ key, object }) => `${key}:${text(object)}`)].join(' '));
  }

  heal(from: string, to: string | undefined): void {
    this.note(`heal ${from} to ${to ?? '-'}`);
  }

  done(): void {
    this.note('done');
  }

  wait(short: number): void {
    this.note(`wait ${String(short)}`);
  }
}

describe('transcripts', () => {
  const machines = { comparison: () => new ComparisonTranscript().run, refill: () => new RefillTranscript().run } as const;
  test.each(Object.entries(machines).flatMap(([name, machine]) => transcripts(DATA, name).map((file) => [file, machine] as const)))(
    '%s',
    (file, machine) => {
      const { actual, expected } = play(new URL(file, DATA), machine());
      expect(actual).toBe(expected);
    },
  );
});

describe('the sources of a refill', () => {
  test('meet every acknowledged write of the lowest W', () => {
    for (let n = 2; n <= 7; n += 1) {
      for (let w = 1; w <= n; w += 1) {
        const needed = refillQuorum(n, w);
        // W replicas have it, one of them is the one that lost it: so many of the others may be missed by the sources.
        const missable = n - 1 - (w - 1);
        expect([n, w, w === 1 || needed > missable]).toEqual([n, w, true]);
        expect(needed).toBeGreaterThan(0);
        expect(needed).toBeLessThan(n);
      }
    }
  });
});
