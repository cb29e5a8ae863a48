/**
 * The transcripts of strong reads and writes. Tags are written as numbers, 0 for a key that was never written; `5x` is a tag with a delete. In
 * life a tag has an actor too; here writer `n` of counter c is the tag `c.n`, and a write under test is number 1.
 */

import type { ErrorCode } from '../../src/base/errors.ts';
import {
  newStrongRead,
  type StrongReadEvent,
  type StrongReadOut,
  type StrongReadState,
  strongReadStep,
  type Tagged,
} from '../../src/cluster/quorum/strong-read.ts';
import {
  newStrongWrite,
  type Phase,
  type StrongWriteEvent,
  type StrongWriteOut,
  type StrongWriteState,
  strongWriteStep,
} from '../../src/cluster/quorum/strong-write.ts';
import type { RegisterRecord } from '../../src/cluster/versioning/register.ts';
import { counterOf, makeTag, NO_TAG, type Tag } from '../../src/cluster/versioning/tag.ts';
import { fields, MachineTranscript, mask } from './transcript.ts';

const ACTOR = 'the actor of 20 byte';

/** `7.2` as the tag of counter 7 by writer 2; `0` as none. */
function tagOf(text = '0'): Tag {
  const [counter = '0', writer = '1'] = text.replace('x', '').split('.');
  return counter === '0' ? NO_TAG : makeTag(Number(counter), { actor: ACTOR, counter: Number(writer) });
}

function show(tag: Tag): string {
  return tag === NO_TAG ? '0' : `${String(counterOf(tag))}.${String(tag.charCodeAt(tag.length - 1))}`;
}

export class StrongReadTranscript extends MachineTranscript implements StrongReadOut {
  #state: StrongReadState | undefined;

  protected perform(verb: string, words: readonly string[]): void {
    if (verb === 'read') {
      const { n, r, w, up, from } = fields(words);
      this.#state = newStrongRead(Number(n), Number(r), Number(w));
      this.#step({ kind: 'start', reachable: mask(up ?? ''), source: Number(from) });
    } else {
      this.#step(this.#event(verb, words));
    }
  }

  #event(verb: string, [at = '0', what]: readonly string[]): StrongReadEvent {
    const replica = Number(at);
    const code = (what ?? 'TIMEOUT') as ErrorCode;
    switch (verb) {
      case 'value':
        return { kind: 'value', replica, content: { tag: tagOf(what), bytes: new Uint8Array(0) } };
      case 'tag':
        return { kind: 'tag', replica, tag: tagOf(what) };
      case 'value-failed':
        return { kind: 'valueFailed', replica, code };
      case 'tag-failed':
        return { kind: 'tagFailed', replica, code };
      case 'wrote':
        return { kind: 'wrote', replica };
      case 'write-failed':
        return { kind: 'writeFailed', replica };
      case 'hedge':
        return { kind: 'hedge' };
      case 'deadline':
        return { kind: 'deadline' };
      default:
        throw new Error(`no command ${verb}`);
    }
  }

  #step(event: StrongReadEvent): void {
    if (this.#state === undefined) throw new Error('a transcript begins with a read');
    strongReadStep(this.#state, event, this);
  }

  askValue(replica: number, hedged: boolean): void {
    this.note(`ask ${String(replica)} for its value${hedged ? ' (hedge)' : ''}`);
  }

  askTag(replica: number): void {
    this.note(`ask ${String(replica)} for its tag`);
  }

  writeBack(replica: number, { tag }: Tagged): void {
    this.note(`write ${show(tag)} back to ${String(replica)}`);
  }

  answer({ tag }: Tagged, waited: boolean): void {
    this.note(`answer ${show(tag)}${waited ? ' (after a write-back)' : ''}`);
  }

  fail(code: ErrorCode, message: string): void {
    this.note(`fail ${code}: ${message}`);
  }

  settle(): void {
    this.note('settled');
  }
}

const ID = 'operation 16 byt';

export class StrongWriteTranscript extends MachineTranscript implements StrongWriteOut {
  #state: StrongWriteState | undefined;

  protected perform(verb: string, words: readonly string[]): void {
    if (verb === 'write') {
      const { n, r, w, up, id } = fields(words);
      this.#state = newStrongWrite({
        n: Number(n),
        r: Number(r),
        w: Number(w),
        operation: id === undefined ? undefined : { id: ID, bodyHash: id },
        tagOf: (counter) => makeTag(counter, { actor: ACTOR, counter: 1 }),
        ballotOf: (attempt) => makeTag(attempt, { actor: ACTOR, counter: 1 }),
      });
      this.#step({ kind: 'start', reachable: mask(up ?? '') });
    } else {
      this.#step(this.#event(verb, words));
    }
  }

  #event(verb: string, [at = '0', ...words]: readonly string[]): StrongWriteEvent {
    const replica = Number(at);
    const [what] = words;
    const attempt = Number(fields(words.filter((word) => word.includes('=')))['attempt'] ?? this.#state?.attempt ?? 1);
    const answer = { tag: tagOf(what), live: what !== undefined && what !== '0' && !what.endsWith('x') };
    switch (verb) {
      case 'tag':
        return { kind: 'tag', replica, answer };
      case 'promised':
        return { kind: 'promised', attempt, replica, answer, record: recordIn(words) };
      case 'accepted':
        return { kind: 'accepted', attempt, replica };
      case 'outvoted':
        return { kind: 'outvoted', attempt, replica, by: Number(what) };
      case 'ask-failed':
      case 'agree-failed':
        return { kind: 'failed', phase: verb.split('-')[0] as Phase, attempt, replica, code: (what ?? 'TIMEOUT') as ErrorCode };
      case 'stored':
        return { kind: 'stored', replica };
      case 'refused':
      case 'lost':
        return { kind: 'storeFailed', replica, code: (what ?? 'TIMEOUT') as ErrorCode, certain: verb === 'refused' };
      case 'again':
        return { kind: 'again' };
      case 'deadline':
        return { kind: 'deadline' };
      default:
        throw new Error(`no command ${verb}`);
    }
  }

  #step(event: StrongWriteEvent): void {
    if (this.#state === undefined) throw new Error('a transcript begins with a write');
    strongWriteStep(this.#state, event, this);
  }

  askTag(replica: number): void {
    this.note(`ask ${String(replica)} for its tag`);
  }

  prepare(replica: number, attempt: number): void {
    this.note(`ask ${String(replica)} for a promise, attempt ${String(attempt)}`);
  }

  accept(replica: number, attempt: number, { tag }: RegisterRecord): void {
    this.note(`ask ${String(replica)} to accept ${show(tag)}, attempt ${String(attempt)}`);
  }

  store(replica: number, tag: Tag): void {
    this.note(`store ${show(tag)} at ${String(replica)}`);
  }

  pause(attempt: number): void {
    this.note(`pause after attempt ${String(attempt)}`);
  }

  acknowledge(existed: boolean, repeated: boolean): void {
    this.note(`acknowledge${existed ? ', there was a value' : ''}${repeated ? ', a repetition' : ''}`);
  }

  fail(code: ErrorCode, message: string, outcome: string): void {
    this.note(`fail ${code}, outcome ${outcome}: ${message}`);
  }

  settle(): void {
    this.note('settled');
  }
}

/** `promised 0 5.2 record=4.2 ballot=1.2 id=a`: the record found with the promise. */
function recordIn(words: readonly string[]): RegisterRecord | undefined {
  const { record, ballot, id } = fields(words.filter((word) => word.includes('=')));
  if (record === undefined) return undefined;
  return { id: ID, bodyHash: id ?? 'a', ballot: tagOf(ballot), tag: tagOf(record), rank: counterOf(tagOf(record)), existed: false };
}
