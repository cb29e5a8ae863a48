import { describe, expect, test } from '@jest/globals';

import { type PartitionId, type StoreId } from '../../src/base/ids.ts';
import { newRound, type RoundEvent, type RoundOut, type RoundState, roundStep } from '../../src/cluster/collection/round.ts';
import { type CollectionItem, type CollectionState, NO_STATE, type Obstacle } from '../../src/cluster/collection/round-messages.ts';
import { fields, play, transcripts } from '../quorum/transcript.ts';

const DATA = new URL('testdata/', import.meta.url);
const PARTITION = 0 as PartitionId;

/** One slice that differs by what is in it; `-` for none. */
function slicesOf(letters: string | undefined): number[] {
  if (letters === undefined) return [];
  const codes = letters === '-' ? [] : letters.split('').map((letter) => letter.charCodeAt(0));
  return [codes.length, codes.reduce((sum, code) => sum ^ (code * 65_537), 0), 0, ...new Array<number>(45).fill(0)];
}

function show({ generation, to, expiredByMs, slice, keys }: CollectionItem): string {
  const parts = [`g=${String(generation)}`];
  // The leader's clock says 1000.
  if (expiredByMs !== 1000) parts.push(`expired=${String(expiredByMs)}`);
  if (to > 0) parts.push(`to=${String(to)}`);
  if (slice > 0) parts.push(`slice=${String(slice)}`);
  if (keys.length > 0) parts.push(`keys=${keys.join('')}`);
  return parts.join(' ');
}

/** `round`, `m0 g=2 f=0 due young slices=ab …` for an answer, `m0 fails`, `healed`, `waited`. */
class RoundTranscript implements RoundOut {
  #effects: string[] = [];
  #state: RoundState | undefined;

  readonly run = (command: string): string[] => {
    const [verb = '', ...words] = command.split(' ');
    this.#effects = [];
    if (verb === 'round') {
      const { members = '3', primaries = '012' } = fields(words);
      const task = { partition: PARTITION, primaries: primaries.split('').map(Number) };
      this.#state = newRound(Number(members), 0, [task], 1000, 100);
      this.#step({ kind: 'start' });
    } else {
      for (const who of verb.startsWith('m') ? verb.slice(1).split('') : ['']) this.#step(this.#event(who === '' ? verb : who, words));
    }
    return this.#effects;
  };

  #event(who: string, words: string[]): RoundEvent {
    if (who === 'healed' || who === 'waited') return { kind: who };
    const member = Number(who);
    if (words[0] === 'fails') return { kind: 'failed', member };
    const { g = '1', f = '0', e = '0', least = g, boot = '1', why, requests = '0', hints = '0', slices, list } = fields(words);
    const state: CollectionState = {
      ...NO_STATE,
      partition: PARTITION,
      obstacle: why as Obstacle | undefined,
      generation: Number(g),
      least: Number(least),
      floor: Number(f),
      expiredByMs: Number(e),
      due: words.includes('due'),
      young: words.includes('young'),
      requests: Number(requests),
      hints: Number(hints),
      slices: slicesOf(slices),
      candidates: list === undefined || list === '-' ? [] : list.split('').map((key) => ({ key, digest: key })),
    };
    return { kind: 'answered', member, report: { storeId: `store ${who}` as StoreId, boot: Number(boot), states: [state] } };
  }

  #step(event: RoundEvent): void {
    if (this.#state !== undefined) roundStep(this.#state, event, this);
  }

  ask(member: number, step: string, items: readonly CollectionItem[]): void {
    this.#effects.push(`${step} ${String(member)} ${items.map(show).join(', ')}`);
  }

  heal(keys: readonly string[]): void {
    this.#effects.push(`heal ${keys.join('')}`);
  }

  wait(ms: number): void {
    this.#effects.push(`wait ${String(ms)} ms`);
  }

  end(_partition: PartitionId, outcome: Parameters<RoundOut['end']>[1]): void {
    this.#effects.push(outcome.kind === 'blocked' ? `blocked by ${String(outcome.member)}: ${outcome.why}` : outcome.kind);
  }

  over(): void {
    this.#effects.push('over');
  }
}

describe('collecting rounds', () => {
  test.each(transcripts(DATA, 'round-'))('%s', (name) => {
    const { actual, expected } = play(new URL(name, DATA), new RoundTranscript().run);
    expect(actual).toBe(expected);
  });

  test('there is a transcript of every kind of end', () => {
    expect(transcripts(DATA, 'round-').length).toBeGreaterThan(8);
  });
});
