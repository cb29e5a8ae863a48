/** Admission as transcripts, and against any order of events. */

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import {
  type AdmissionOut,
  type AdmissionState,
  arrive,
  ended,
  enqueue,
  hasTime,
  INTERVAL_MS,
  isOverloaded,
  LEAST_LIMIT,
  LEAST_PER_TURN,
  newAdmission,
  retryAfterMs,
  serve,
  TURN_MS,
  turnEnded,
  type Waiting,
} from '../../src/cluster/overload/admission.ts';
import { fields, play, transcripts } from '../quorum/transcript.ts';

const DATA = new URL('testdata/', import.meta.url);

interface Named extends Waiting {
  readonly name: string;
}

class Transcript implements AdmissionOut<Named> {
  #effects: string[] = [];
  #state: AdmissionState<Named> = newAdmission({ operations: 1, waiting: 1 }, 0);

  readonly run = (command: string): string[] => {
    const [verb = '', ...words] = command.split(' ');
    const given = fields(words.filter((word) => word.includes('=')));
    const number = (name: string, otherwise = 0): number => Number(given[name] ?? otherwise);
    const nowMs = number('at');
    this.#effects = [];
    switch (verb) {
      case 'node':
        this.#state = newAdmission({ operations: number('operations'), waiting: number('waiting') }, 0);
        break;
      case 'arrive':
        for (const name of words.filter((word) => !word.includes('='))) {
          const decision = arrive(this.#state, nowMs);
          if (decision === 'wait') enqueue(this.#state, { name, arrivedMs: nowMs, deadlineMs: nowMs + number('timeout', 5000) });
          this.#effects.push(`${decision} ${name}`);
        }
        break;
      case 'end':
        for (let i = 0; i < number('count', 1); i += 1) ended(this.#state, nowMs, number('took'), words.includes('busy'), this);
        break;
      case 'look':
        serve(this.#state, nowMs, this);
        break;
      case 'turn':
        turnEnded(this.#state, nowMs, number('took'));
        break;
      case 'time':
        this.#effects.push(hasTime(this.#state, nowMs, number('elapsed'), number('served', LEAST_PER_TURN)) ? 'there is time' : 'refuse');
        break;
      case 'state': {
        const { limit, underWay, line } = this.#state;
        const overloaded = isOverloaded(this.#state, nowMs) ? 'overloaded' : 'calm';
        this.#effects.push(
          `${overloaded}, ${String(underWay)} of ${String(limit)} under way, ${String(line.length)} wait, retry after ${String(retryAfterMs(this.#state, nowMs))} ms`,
        );
        break;
      }
      default:
        throw new Error(`no such command: ${command}`);
    }
    return this.#effects;
  };

  start({ name }: Named): void {
    this.#effects.push(`start ${name}`);
  }

  refuse({ name }: Named): void {
    this.#effects.push(`refuse ${name}`);
  }
}

describe('admission, as transcripts', () => {
  test.each(transcripts(DATA, 'admission-'))('%s', (name) => {
    const { actual, expected } = play(new URL(name, DATA), new Transcript().run);
    expect(actual).toBe(expected);
  });
});

describe('admission, whatever comes', () => {
  const event = fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('arrive' as const), timeoutMs: fc.integer({ min: 1, max: 600 }) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('end' as const),
        tookMs: fc.option(fc.integer({ min: 0, max: 1000 }), { nil: undefined }),
        failed: fc.boolean(),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 400 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('turn' as const), tookMs: fc.integer({ min: 0, max: 300 }) }) },
  );

  test('bounds hold, each operation is started or refused once and never after its deadline, and nothing waits while there is room', () => {
    const bounds = fc.record({ operations: fc.integer({ min: 1, max: 80 }), waiting: fc.integer({ min: 0, max: 10 }) });
    fc.assert(
      fc.property(bounds, fc.array(event, { maxLength: 300 }), (most, events) => {
        const state = newAdmission<Named>(most, 0);
        const open = new Set<string>();
        let nowMs = 0;
        let underWay = 0;
        let next = 0;
        const out: AdmissionOut<Named> = {
          start: ({ name, deadlineMs }) => {
            expect(open.delete(name)).toBe(true);
            expect(nowMs).toBeLessThan(deadlineMs);
            underWay += 1;
            // Only what is over makes room.
            expect(underWay).toBeLessThanOrEqual(state.limit);
          },
          refuse: ({ name }) => {
            expect(open.delete(name)).toBe(true);
          },
        };
        for (const each of events) {
          switch (each.kind) {
            case 'arrive': {
              next += 1;
              const waiting = { name: String(next), arrivedMs: nowMs, deadlineMs: nowMs + each.timeoutMs };
              const decision = arrive(state, nowMs);
              if (decision === 'wait') {
                open.add(waiting.name);
                enqueue(state, waiting);
              } else if (decision === 'start') {
                underWay += 1;
                expect(underWay).toBeLessThanOrEqual(state.limit);
              }
              break;
            }
            case 'end':
              if (underWay === 0) break;
              underWay -= 1;
              ended(state, nowMs, each.tookMs, each.failed, out);
              break;
            case 'pass':
              nowMs += each.ms;
              serve(state, nowMs, out);
              break;
            case 'turn':
              nowMs += each.tookMs;
              turnEnded(state, nowMs, each.tookMs);
              break;
          }
          expect(state.underWay).toBe(underWay);
          expect(state.line.length).toBe(open.size);
          expect(state.line.length + underWay).toBeLessThanOrEqual(most.waiting + most.operations);
          expect(state.limit).toBeGreaterThanOrEqual(Math.min(LEAST_LIMIT, most.operations));
          expect(state.limit).toBeLessThanOrEqual(most.operations);
          if (state.line.length > 0) expect(underWay).toBeGreaterThanOrEqual(Math.min(state.limit, most.operations));
        }
        // Left alone, the line empties within the patience of an interval.
        nowMs += INTERVAL_MS;
        serve(state, nowMs, out);
        expect(open.size).toBe(0);
      }),
    );
  });

  test('the limit follows what is sustained, down and up again', () => {
    const state = newAdmission<Named>({ operations: 1000, waiting: 0 }, 0);
    const out: AdmissionOut<Named> = { start: () => undefined, refuse: () => undefined };
    const run = (fromMs: number, untilMs: number, tookMs: number): void => {
      for (let nowMs = fromMs; nowMs < untilMs; nowMs += 10) {
        while (arrive(state, nowMs) === 'start');
        for (let i = 0; i < 20; i += 1) ended(state, nowMs, tookMs, false, out);
      }
    };
    // Two operations a millisecond, of which half may take a quarter of a second at most.
    run(0, 2000, 400);
    expect(state.limit).toBeLessThanOrEqual(180);
    expect(state.limit).toBeGreaterThanOrEqual(160);
    run(2000, 20_000, 10);
    expect(state.limit).toBe(1000);
  });

  test('the limit is at once as high as the pace allows that operations are done at', () => {
    const state = newAdmission<Named>({ operations: 16_384, waiting: 0 }, 0);
    const out: AdmissionOut<Named> = { start: () => undefined, refuse: () => undefined };
    while (arrive(state, 1) === 'start');
    expect(state.underWay).toBe(LEAST_PER_TURN);
    // All of them within a few ms.
    for (let i = 0; i < LEAST_PER_TURN; i += 1) ended(state, 30, 5, false, out);
    while (arrive(state, 30) === 'start');
    expect(state.underWay).toBeGreaterThan(2 * LEAST_PER_TURN);
    expect(isOverloaded(state, 30)).toBe(false);
  });

  test('what is slow is seen by what is usual: some ms on one machine, a good part of a second between distant zones', () => {
    /** The limit after two seconds at so many ms an operation, where the ones before took `usualMs`. */
    const limitAt = (usualMs: number, tookMs: number): number => {
      const state = newAdmission<Named>({ operations: 256, waiting: 0 }, 0);
      const out: AdmissionOut<Named> = { start: () => undefined, refuse: () => undefined };
      for (let nowMs = 0; nowMs < 4000; nowMs += 10) {
        const ms = nowMs < 2000 ? usualMs : tookMs;
        if (arrive(state, nowMs) === 'start') ended(state, nowMs + ms, ms, false, out);
      }
      return state.limit;
    };
    expect(limitAt(5, 100)).toBe(256);
    expect(limitAt(5, 150)).toBe(LEAST_LIMIT);
    expect(limitAt(80, 150)).toBe(256);
    expect(limitAt(80, 300)).toBe(LEAST_LIMIT);
    expect(limitAt(200, 300)).toBe(LEAST_LIMIT);
  });

  test('a limit of which little is used grows no further than what a turn serves in any case', () => {
    const state = newAdmission<Named>({ operations: 16_384, waiting: 0 }, 0);
    const out: AdmissionOut<Named> = { start: () => undefined, refuse: () => undefined };
    const run = (fromMs: number, untilMs: number, tookMs: number, atOnce: number): void => {
      for (let nowMs = fromMs; nowMs < untilMs; nowMs += 10) {
        for (let i = 0; i < atOnce; i += 1) if (arrive(state, nowMs) === 'start') ended(state, nowMs, tookMs, false, out);
      }
    };
    run(0, 2000, 400, 4);
    expect(state.limit).toBeLessThan(110);
    run(2000, 60_000, 10, 20);
    expect(state.limit).toBeGreaterThanOrEqual(LEAST_PER_TURN);
    expect(state.limit).toBeLessThan(1.25 * LEAST_PER_TURN + 1);
  });

  test('a turn within its target never refuses, and overload ends an interval after the last sign of it', () => {
    const state = newAdmission<Named>({ operations: 10, waiting: 1 }, 0);
    for (let nowMs = 0; nowMs <= INTERVAL_MS; nowMs += INTERVAL_MS / 10) turnEnded(state, nowMs, TURN_MS);
    expect(isOverloaded(state, INTERVAL_MS)).toBe(true);
    expect(hasTime(state, INTERVAL_MS, TURN_MS - 0.1, LEAST_PER_TURN)).toBe(true);
    expect(hasTime(state, INTERVAL_MS, TURN_MS, LEAST_PER_TURN)).toBe(false);
    expect(isOverloaded(state, 2 * INTERVAL_MS)).toBe(true);
    expect(isOverloaded(state, 2 * INTERVAL_MS + 1)).toBe(false);
  });
});
