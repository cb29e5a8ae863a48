/** The failure detector as transcripts: see DetectorTranscript for the commands. */

import { describe, expect, test } from '@jest/globals';

import { detectorStep, type DetectorEvent, type DetectorOut, type UpReason } from '../../src/cluster/membership/detector.ts';
import { type Detector, newDetector } from '../../src/cluster/membership/detector-state.ts';
import type { Accusation, Gossip } from '../../src/cluster/membership/gossip.ts';
import { fields, play, transcripts } from '../quorum/transcript.ts';
import { SeededRandom } from '../transport/cluster.ts';

const DATA = new URL('testdata/', import.meta.url);
const EPOCH = 3;
/** Rounds of gossip are left out of the effects: they go on all the time. */
type Sent = 'probe' | 'round' | 'news';

/**
 * `detector zones=0,1,2 self=0 [incarnation=1]` begins; the member's position stands for its name.
 * `answer 1 2` lets these answer whatever they are sent, from now on; `hush 2` ends that.
 * `pass 2600` lets time pass, `held 3000` too, but this node is held up meanwhile.
 * `hear 2 [incarnation=2]` is a message of member 2. What it says of others: `accuses=3 [life=1] [by=4] [bylife=1]`, `row=3 life=2 [heartbeat=9]`;
 * `epoch=9`: it has another topology. `waits 2`: a request to it is unanswered for long.
 */
class DetectorTranscript implements DetectorOut {
  #effects: string[] = [];
  #state: Detector | undefined;
  #nowMs = 10_000;
  #startedMs = 10_000;
  readonly #answering = new Set<number>();
  #unanswered: number[] = [];
  #heartbeats = 0;
  /** The life that each member last spoke in. */
  readonly #lives = new Map<number, string>();

  readonly run = (command: string): string[] => {
    const [verb = '', ...words] = command.split(' ');
    this.#effects = [];
    const first = Number(words[0]);
    const named = fields(words.filter((word) => word.includes('=')));
    switch (verb) {
      case 'detector':
        this.#begin(named);
        break;
      case 'answer':
        for (const word of words) this.#answering.add(Number(word));
        break;
      case 'hush':
        for (const word of words) this.#answering.delete(Number(word));
        break;
      case 'pass':
        this.#pass(first);
        break;
      case 'held':
        this.#nowMs += first;
        this.#step({ kind: 'tick', nowMs: this.#nowMs });
        break;
      case 'hear':
        this.#lives.set(first, named['incarnation'] ?? '1');
        this.#step({ kind: 'asked', member: first, gossip: this.#said(named), nowMs: this.#nowMs });
        break;
      case 'waits':
        this.#step({ kind: 'waits', member: first, nowMs: this.#nowMs });
        break;
      case 'doubt?':
        this.#effects.push(`doubt ${String(this.#state?.doubt)}`);
        break;
      default:
        throw new Error(`no command ${verb}`);
    }
    return this.#effects;
  };

  #begin({ zones = '', self = '0', incarnation = '1' }: Record<string, string>): void {
    const random = new SeededRandom(7);
    this.#state = newDetector(
      {
        self: Number(self),
        zones: zones.split(',').map(Number),
        incarnation: Number(incarnation),
        store: undefined,
        epoch: EPOCH,
        random: () => random.u32(),
        observersNeeded: 2,
        accuses: (probed) => probed,
      },
      this.#nowMs,
    );
  }

  #said(named: Record<string, string>): Gossip {
    const { incarnation = '1', accuses, life = '1', by, bylife = '1', row, heartbeat = '1', epoch = String(EPOCH) } = named;
    this.#heartbeats += 1;
    const accusations: Accusation[] = [];
    if (accuses !== undefined) {
      accusations.push({
        member: Number(accuses),
        incarnation: Number(life),
        observer: Number(by),
        observerIncarnation: Number(bylife),
      });
    }
    return {
      incarnation: Number(incarnation),
      heartbeat: this.#heartbeats,
      load: 0,
      epoch: Number(epoch),
      store: undefined,
      exchange: false,
      rows: row === undefined ? [] : [Number(row), Number(life), Number(heartbeat), 0, EPOCH],
      introductions: [],
      accusations,
    };
  }

  #pass(ms: number): void {
    const endMs = this.#nowMs + ms;
    while (this.#state !== undefined && this.#state.wakeMs <= endMs) {
      this.#nowMs = Math.max(this.#nowMs, this.#state.wakeMs);
      this.#step({ kind: 'tick', nowMs: this.#nowMs });
    }
    this.#nowMs = endMs;
  }

  #step(event: DetectorEvent): void {
    if (this.#state === undefined) throw new Error('a transcript begins with a detector');
    detectorStep(this.#state, event, this);
    for (const member of this.#unanswered.splice(0)) {
      if (!this.#answering.has(member)) continue;
      const gossip = this.#said({ incarnation: this.#lives.get(member) ?? '1' });
      this.#step({ kind: 'answered', member, gossip, nowMs: this.#nowMs });
    }
  }

  #note(text: string): void {
    this.#effects.push(`${((this.#nowMs - this.#startedMs) / 1000).toFixed(2)} s: ${text}`);
  }

  send(member: number, gossip: Gossip): void {
    this.#unanswered.push(member);
    const kind: Sent = gossip.exchange ? 'round' : gossip.accusations.length + gossip.rows.length > 0 ? 'news' : 'probe';
    if (kind === 'probe' && this.#state?.owedMs[member] !== Infinity) this.#note(`probe ${String(member)}`);
    for (const { member: accused, incarnation, observer } of gossip.accusations) {
      if (kind === 'news') {
        this.#note(`tell ${String(member)}: ${String(accused)} (life ${String(incarnation)}) is silent to ${String(observer)}`);
      }
    }
  }

  reply(gossip: Gossip): void {
    for (const { member, observer } of gossip.accusations) this.#note(`reply: ${String(member)} is silent to ${String(observer)}`);
    for (let at = 0; at < gossip.rows.length; at += 5) {
      this.#note(`reply: ${String(gossip.rows[at])} had life ${String(gossip.rows[at + 1])}`);
    }
  }

  down(member: number, incarnation: number, observers: readonly number[]): void {
    this.#note(`${String(member)} is DOWN in life ${String(incarnation)}, silent to ${observers.join(' and ')}`);
  }

  up(member: number, reason: UpReason): void {
    this.#note(`${String(member)} is UP: ${reason}`);
  }

  avoid(member: number, avoided: boolean): void {
    this.#note(avoided ? `avoid ${String(member)}` : `no longer avoid ${String(member)}`);
  }

  accuse(member: number, incarnation: number): void {
    this.#note(`accuse ${String(member)} in life ${String(incarnation)}`);
  }

  refute(incarnation: number): void {
    this.#note(`refute: life ${String(incarnation)}`);
  }
}

describe('detector', () => {
  for (const name of transcripts(DATA, 'detector')) {
    test(name, () => {
      const { actual, expected } = play(new URL(name, DATA), new DetectorTranscript().run);
      expect(actual).toBe(expected);
    });
  }
});

test('a member of which nothing new is heard for long is probed, before the rounds have come to it', () => {
  const size = 1000;
  const random = new SeededRandom(3);
  const state = newDetector(
    {
      self: 0,
      zones: Array.from({ length: size }, (_, member) => member % 3),
      incarnation: 1,
      store: undefined,
      epoch: EPOCH,
      random: () => random.u32(),
      observersNeeded: 2,
      accuses: (probed) => probed,
    },
    0,
  );
  const probed = new Set<number>();
  let nowMs = 0;
  const answers: number[] = [];
  const quiet = (): void => undefined;
  const out: DetectorOut = {
    send: (member, { exchange }) => {
      answers.push(member);
      if (!exchange) probed.add(member);
    },
    reply: quiet,
    down: quiet,
    up: quiet,
    avoid: quiet,
    accuse: quiet,
    refute: quiet,
  };
  const pass = (untilMs: number): void => {
    while (state.wakeMs <= untilMs) {
      nowMs = state.wakeMs;
      detectorStep(state, { kind: 'tick', nowMs }, out);
      for (const member of answers.splice(0)) {
        const gossip = { incarnation: 1, heartbeat: nowMs, load: 0, epoch: EPOCH, store: undefined, exchange: false };
        detectorStep(state, { kind: 'answered', member, gossip: { ...gossip, rows: [], introductions: [], accusations: [] }, nowMs }, out);
      }
    }
  };
  pass(state.pace.staleMs - 1);
  expect(probed.size).toBe(0);
  pass(state.pace.staleMs + 60_000);
  expect(probed.size).toBeGreaterThan(40);
  expect(probed.has(0)).toBe(false);
});
