import { describe, expect, test } from '@jest/globals';

import type { ErrorCode } from '../../src/base/errors.ts';
import { gatherStep, type GatherEvent, type GatherOut, type GatherState, newGather } from '../../src/cluster/quorum/gather.ts';
import {
  type Content,
  fallbacksAnswering,
  NEVER_WRITTEN,
  newRead,
  type ReadEvent,
  type ReadOut,
  type ReadState,
  readStep,
} from '../../src/cluster/quorum/read.ts';
import {
  acknowledged,
  fallbacksCounted,
  newWrite,
  timedOut,
  type WriteOut,
  type WriteState,
  writeStep,
} from '../../src/cluster/quorum/write.ts';
import { StrongReadTranscript, StrongWriteTranscript } from './strong-transcripts.ts';
import { fields, play, transcripts, MachineTranscript, mask } from './transcript.ts';

const DATA = new URL('testdata/', import.meta.url);

/** In transcripts an object is a set of letters, `-` one that was never written; merging joins the sets. */
function content(letters: string | undefined): Content {
  return letters === undefined || letters === '-' ? NEVER_WRITTEN : { digest: letters, bytes: Buffer.from(letters) };
}

function merge(a: Content, b: Content): Content {
  return content([...new Set(a.digest + b.digest)].sort().join(''));
}

function byFallbacks(count: number): string {
  return count === 0 ? '' : ` (${String(count)} by a fallback)`;
}

function show({ digest }: Content): string {
  return digest === '' ? '-' : digest;
}

class ReadTranscript extends MachineTranscript implements ReadOut {
  #state: ReadState | undefined;

  protected perform(verb: string, words: readonly string[]): void {
    if (verb === 'read') {
      const { n, r, up, from, fallbacks } = fields(words);
      this.#state = newRead(Number(n), Number(r), { merge });
      this.#step({ kind: 'start', reachable: mask(up ?? ''), source: Number(from ?? -1), fallbacks: mask(fallbacks ?? '') });
    } else {
      this.#step(this.#event(verb, words));
    }
  }

  #event(verb: string, [replica = '0', what]: readonly string[]): ReadEvent {
    const at = { replica: Number(replica) };
    switch (verb) {
      case 'value':
        return { kind: 'value', ...at, content: content(what) };
      case 'suspect':
        return { kind: 'suspect', ...at, content: content(what) };
      case 'digest':
        return { kind: 'digest', ...at, digest: content(what).digest };
      case 'value-failed':
        return { kind: 'valueFailed', ...at, code: (what ?? 'TIMEOUT') as ErrorCode };
      case 'digest-failed':
        return { kind: 'digestFailed', ...at, code: (what ?? 'TIMEOUT') as ErrorCode };
      case 'unhinted':
        return { kind: 'unhinted', ...at };
      case 'repaired':
        return { kind: 'repaired', ...at };
      case 'repair-failed':
        return { kind: 'repairFailed', ...at };
      case 'hedge':
        return { kind: 'hedge' };
      case 'deadline':
        return { kind: 'deadline' };
      default:
        throw new Error(`no command ${verb}`);
    }
  }

  #step(event: ReadEvent): void {
    if (this.#state === undefined) throw new Error('a transcript begins with a read');
    readStep(this.#state, event, this);
  }

  askValue(replica: number, hedged: boolean): void {
    this.note(`ask ${String(replica)} for its value${hedged ? ' (hedge)' : ''}`);
  }

  askDigest(replica: number): void {
    this.note(`ask ${String(replica)} for its digest`);
  }

  repair(replica: number, bytes: Uint8Array): void {
    this.note(`repair ${String(replica)} with ${Buffer.from(bytes).toString()}`);
  }

  answer(answered: Content, merged: boolean): void {
    const fallbacks = this.#state === undefined ? 0 : fallbacksAnswering(this.#state);
    this.note(`answer ${show(answered)}${merged ? ' (merged)' : ''}${byFallbacks(fallbacks)}`);
  }

  fail(code: ErrorCode, message: string): void {
    this.note(`fail ${code}: ${message}`);
  }

  settle(): void {
    this.note('settled');
  }
}

class WriteTranscript extends MachineTranscript implements WriteOut {
  #state: WriteState | undefined;

  protected perform(verb: string, words: readonly string[]): void {
    const [replica = '0', code = 'TIMEOUT'] = words;
    if (verb === 'write') {
      const { n, w, fallbacks } = fields(words);
      this.#state = newWrite(Number(n), Number(w), mask(fallbacks ?? ''));
      return;
    }
    if (this.#state === undefined) throw new Error('a transcript begins with a write');
    switch (verb) {
      case 'fallback':
        writeStep(this.#state, { kind: 'fallback', replica: Number(replica) }, this);
        break;
      case 'acknowledged':
        writeStep(this.#state, acknowledged(Number(replica)), this);
        break;
      case 'failed':
        writeStep(this.#state, { kind: 'failed', replica: Number(replica), code: code as ErrorCode }, this);
        break;
      case 'deadline':
        writeStep(this.#state, timedOut(), this);
        break;
      default:
        throw new Error(`no command ${verb}`);
    }
  }

  acknowledge(): void {
    this.note(`acknowledge${byFallbacks(this.#state === undefined ? 0 : fallbacksCounted(this.#state))}`);
  }

  fail(code: ErrorCode, message: string, outcome: string): void {
    this.note(`fail ${code}, outcome ${outcome}: ${message}`);
  }

  settle(): void {
    this.note('settled');
  }
}

class GatherTranscript extends MachineTranscript implements GatherOut {
  #state: GatherState | undefined;

  protected perform(verb: string, words: readonly string[]): void {
    if (verb === 'gather') {
      const { n, need, others, up, own, wait, silent } = fields(words);
      this.#state = newGather({
        n: Number(n ?? 3),
        need: Number(need),
        thorough: wait === 'all',
        silent: mask(silent ?? ''),
        others: mask(others ?? ''),
        expected: content(own).digest,
        merge,
      });
      this.#step({ kind: 'start', reachable: mask(up ?? '') });
    } else {
      const [replica = '0', what] = words;
      const at = { replica: Number(replica) };
      if (verb === 'value') this.#step({ kind: 'value', ...at, content: content(what) });
      else if (verb === 'failed') this.#step({ kind: 'failed', ...at, code: (what ?? 'TIMEOUT') as ErrorCode });
      else if (verb === 'deadline' || verb === 'patience') this.#step({ kind: verb });
      else throw new Error(`no command ${verb}`);
    }
  }

  #step(event: GatherEvent): void {
    if (this.#state === undefined) throw new Error('a transcript begins with a gather');
    gatherStep(this.#state, event, this);
  }

  askValue(replica: number): void {
    this.note(`ask ${String(replica)} for its value`);
  }

  done(merged: Content, unanimous: boolean): void {
    this.note(`done ${show(merged)}${unanimous ? ' (all the same)' : ''}`);
  }

  fail(code: ErrorCode, message: string): void {
    this.note(`fail ${code}: ${message}`);
  }
}

const MACHINES = {
  read: ReadTranscript,
  write: WriteTranscript,
  gather: GatherTranscript,
  'strong-read': StrongReadTranscript,
  'strong-write': StrongWriteTranscript,
} as const;

for (const machine of ['read', 'write', 'gather', 'strong-read', 'strong-write'] as const) {
  describe(machine, () => {
    for (const name of transcripts(DATA, machine)) {
      test(name, () => {
        const { actual, expected } = play(new URL(name, DATA), new MACHINES[machine]().run);
        expect(actual).toBe(expected);
      });
    }
  });
}
