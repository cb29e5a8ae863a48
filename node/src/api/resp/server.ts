/**
 * The RESP server: sessions, what they share, and their joint with a network. The composition root gives it each accepted connection:
 * `network.listen(address, (connection) => server.accept(connection))`.
 */

import { Buffer } from 'node:buffer';

import { errorFields, type Logger } from '../../telemetry/logger.ts';
import type { Counter, MetricRegistry } from '../../telemetry/metrics.ts';
import { ByteBudget } from '../byte-budget.ts';
import type { Gate } from '../credentials.ts';
import type { ClientState, Command, ProcessFacts, RespNode } from './command.ts';
import type { RespLimits } from './limits.ts';
import { REFUSALS } from './refusals.ts';
import { ReplyWriter } from './reply.ts';
import { type CountedCommand, type ReplySink, RespSession, type SessionHost } from './session.ts';
import { COMMANDS } from './table.ts';

export interface RespServerOptions {
  readonly node: RespNode;
  readonly gate: Gate;
  readonly limits: RespLimits;
  readonly facts: ProcessFacts;
  readonly log: Logger;
  readonly metrics: MetricRegistry;
  /** Runs `fn` in a later turn of the loop: the clock's `soon`. */
  readonly soon: (fn: () => void) => void;
}

/** What a connection reports to; env's `ConnectionHandler`. */
export interface RespConnectionHandler {
  onData(chunk: Uint8Array): void;
  onDrain(): void;
  onClose(error?: Error): void;
}

const FULL = Buffer.from('-ERR max number of clients reached\r\n');
const IGNORE: RespConnectionHandler = { onData: () => undefined, onDrain: () => undefined, onClose: () => undefined };

export class RespServer implements SessionHost {
  readonly node: RespNode;
  readonly gate: Gate;
  readonly limits: RespLimits;
  readonly facts: ProcessFacts;
  readonly writer: ReplyWriter = new ReplyWriter();
  readonly budget: ByteBudget;
  readonly unsent: ByteBudget;
  readonly results: ByteBudget;
  due = 0;

  readonly #log: Logger;
  readonly #metrics: MetricRegistry;
  readonly #soon: (fn: () => void) => void;
  readonly #sessions = new Set<RespSession>();
  readonly #table = new Map<string, CountedCommand>();
  readonly #errors = new Map<string, Counter>();
  /** The last error reply, and what counts it: under overload they are nearly all the same. */
  #lastError: { readonly reply: string; readonly counter: Counter } | undefined;
  #due: RespSession[] = [];
  #commandsDone = 0;
  #nextId = 1;
  #everReady = false;

  constructor(options: RespServerOptions) {
    this.node = options.node;
    this.gate = options.gate;
    this.limits = options.limits;
    this.facts = options.facts;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#soon = options.soon;
    this.budget = new ByteBudget(options.limits.receiveBytes);
    this.results = new ByteBudget(options.limits.resultBytes);
    this.unsent = new ByteBudget(options.limits.sendBytes);
    for (const command of COMMANDS) {
      const counter = options.metrics.counter('coterie_resp_commands_total', 'Commands run, by name', { command: command.name });
      this.#table.set(command.name, {
        command,
        done: () => {
          this.#commandsDone += 1;
          counter.add();
        },
      });
    }
    options.metrics.observedGauge('coterie_resp_sessions', 'Open RESP sessions', () => this.#sessions.size);
    options.metrics.observedGauge('coterie_resp_receive_bytes', 'Bytes of RESP requests not yet complete', () => this.budget.taken);
  }

  /** Makes the session of a new connection. */
  accept(sink: ReplySink): RespConnectionHandler {
    if (this.#sessions.size >= this.limits.connections) {
      this.failed('ERR max number of clients reached');
      sink.write(FULL);
      sink.end();
      return IGNORE;
    }
    const session = new RespSession(this, sink, this.#nextId);
    this.#nextId += 1;
    this.#sessions.add(session);
    return {
      onData: (chunk) => {
        session.received(chunk);
      },
      onDrain: () => {
        session.drained();
      },
      onClose: () => {
        session.gone();
        this.#sessions.delete(session);
      },
    };
  }

  /** Lets every session finish what it has begun, and end. */
  finish(): void {
    for (const session of this.#sessions) session.finish();
  }

  clients = (): Iterable<ClientState> => [...this.#sessions].map((session) => session.client);
  commandsDone = (): number => this.#commandsDone;
  loading = (): boolean => {
    this.#everReady ||= this.node.ready().ready;
    return !this.#everReady;
  };
  commands = (): readonly Command[] => COMMANDS;

  find(name: string): CountedCommand | undefined {
    return this.#table.get(name);
  }

  refusal(name: string): string | undefined {
    return REFUSALS.get(name);
  }

  failed(reply: string, cause?: unknown): void {
    if (this.#lastError?.reply !== reply) this.#lastError = { reply, counter: this.#counterOf(reply) };
    this.#lastError.counter.add();
    if (cause !== undefined) this.#log.log('error', 'resp-internal-error', errorFields(cause));
  }

  #counterOf(reply: string): Counter {
    const space = reply.indexOf(' ');
    const kind = space === -1 ? reply : reply.slice(0, space);
    let counter = this.#errors.get(kind);
    if (counter === undefined) {
      counter = this.#metrics.counter('coterie_resp_errors_total', 'Error replies, by the class the reply begins with', { class: kind });
      this.#errors.set(kind, counter);
    }
    return counter;
  }

  flushSoon(session: RespSession): void {
    this.#due.push(session);
    if (this.#due.length > 1) return;
    this.#soon(() => {
      const due = this.#due;
      this.#due = [];
      for (const each of due) each.flush();
    });
  }
}
