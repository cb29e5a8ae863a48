/**
 * Refusals under overload, past Koa and before anything of the request was looked at but its path: what is refused must cost far less than what
 * is answered, or refusing alone takes all the time there is.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';

import type { CoterieError } from '../../base/errors.ts';
import { changesKeys, problemOf, retryAfterSeconds } from './problem.ts';

const STATUS = 503;

interface Refusal {
  readonly head: string[];
  readonly body: string;
}

/** Answers of requests that read and that write; a refusal is the same object for all that are refused alike. */
const known = new WeakMap<CoterieError, { readonly reads: Refusal; readonly writes: Refusal }>();

function refusalOf(error: CoterieError, writes: boolean): Refusal {
  const problem = problemOf(error, STATUS, writes);
  const body = JSON.stringify(problem);
  const seconds = retryAfterSeconds(problem.retryAfterMs);
  return {
    head: ['Content-Type', 'application/problem+json', 'Content-Length', String(body.length), 'Retry-After', seconds],
    body,
  };
}

/** What waits to be answered, by the tick in which it is. */
type Tick = (() => void)[];

const TICK_MS = 10;
/** A refusal leaves after so many ticks. */
const HELD_TICKS = 10;

/**
 * Answers 503 with the error, as `answerProblem` would, a tenth of a second later: a client sends its next request on the connection when it has
 * the answer, so that who does not heed `Retry-After` is slowed down to ten refusals a second for each connection, and what is left of the time
 * goes to requests that are served. One answer a connection is held, so as many as there are connections.
 */
export class ShedAnswers {
  readonly #after: (delayMs: number, fn: () => void) => void;
  readonly #ticks: Tick[] = Array.from({ length: HELD_TICKS }, () => []);
  #held = 0;

  /** @param after the clock's */
  constructor(after: (delayMs: number, fn: () => void) => void) {
    this.#after = after;
  }

  /** Answers the status. */
  answer(request: IncomingMessage, response: ServerResponse, error: CoterieError): number {
    let refusals = known.get(error);
    if (refusals === undefined) {
      refusals = { reads: refusalOf(error, false), writes: refusalOf(error, true) };
      known.set(error, refusals);
    }
    const { head, body } = changesKeys(request.method ?? '') ? refusals.writes : refusals.reads;
    // Its body is read past meanwhile, unkept.
    request.resume();
    this.#ticks.at(-1)?.push(() => {
      response.writeHead(STATUS, head);
      response.end(body);
    });
    this.#held += 1;
    if (this.#held === 1) this.#tickLater();
    return STATUS;
  }

  #tickLater(): void {
    this.#after(TICK_MS, () => {
      const due = this.#ticks.shift() ?? [];
      this.#ticks.push([]);
      this.#held -= due.length;
      for (const answer of due) answer();
      if (this.#held > 0) this.#tickLater();
    });
  }
}
