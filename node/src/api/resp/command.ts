/** What a command is, and what it is given to run with. */

import type { Sink } from '../../runtime/answer.ts';
import type { KvNode, Maybe } from '../../runtime/kv.ts';
import type { ByteBudget, ByteClaim } from '../byte-budget.ts';
import type { Gate, Identity } from '../credentials.ts';
import type { RespLimits } from './limits.ts';
import type { RequestParser } from './parser.ts';
import type { ReplyWriter } from './reply.ts';

/** What the commands ask of a node. */
export type RespNode = Pick<
  KvNode,
  | 'limits'
  | 'bucket'
  | 'get'
  | 'put'
  | 'getInto'
  | 'putInto'
  | 'delete'
  | 'expire'
  | 'scan'
  | 'count'
  | 'cluster'
  | 'ready'
  | 'stats'
  | 'nowMs'
  | 'refusal'
>;

/** Facts about the process that only its root knows. */
export interface ProcessFacts {
  readonly version: string;
  readonly processId: number;
  memoryBytes(): number;
}

/** One client as others see it. */
export interface ClientState {
  readonly id: number;
  readonly remote: string;
  readonly sinceMs: number;
  lastMs: number;
  lastCommand: string;
  name: string;
  libraryName: string;
  libraryVersion: string;
  bucket: string;
  protocol: 2 | 3;
  /** `undefined` until the client has shown who it is. */
  identity: Identity | undefined;
}

/** What all sessions of a server share. */
export interface Shared {
  readonly node: RespNode;
  readonly limits: RespLimits;
  readonly gate: Gate;
  readonly facts: ProcessFacts;
  /** For the results of commands on many keys, until they are replies. */
  readonly results: ByteBudget;
  readonly clients: () => Iterable<ClientState>;
  readonly commandsDone: () => number;
  /** The node has not been ready since its start: clients had better wait. */
  readonly loading: () => boolean;
  readonly commands: () => readonly Command[];
}

/** One request being answered. Exactly one reply is given: by writing it, by `answer` or `reply`, or by throwing. */
export interface Call {
  readonly shared: Shared;
  readonly node: RespNode;
  readonly client: ClientState;
  readonly request: RequestParser;
  readonly writer: ReplyWriter;
  /**
   * Replies with a result now or when it comes; a result that comes later is written behind all earlier replies.
   *
   * @param claim on memory for the result; released when the reply is written, or never will be
   */
  answer<T>(result: Maybe<T>, write: (writer: ReplyWriter, result: T) => void, claim?: ByteClaim): void;
  /** `answer` without a promise: replies with what the sink is given. */
  reply<T>(write: (writer: ReplyWriter, result: T) => void, claim?: ByteClaim): Sink<T>;
  /** The session speaks this version from this reply on. */
  speak(protocol: 2 | 3): void;
  /** The client has shown who it is. */
  admit(identity: Identity): void;
  /** The session ends behind this reply. */
  end(): void;
}

export type CommandGroup = 'connection' | 'string' | 'generic' | 'server' | 'coterie';

export interface Command {
  readonly name: string;
  /** As Redis counts: exactly so many arguments, the name included; negative: at least so many. */
  readonly arity: number;
  readonly group: CommandGroup;
  readonly summary: string;
  /** The version of Redis (or of Coterie) that had it first. */
  readonly since: string;
  readonly flags: readonly string[];
  readonly categories: readonly string[];
  /** Which arguments are keys: commands on one key run in the order they came, others may overlap. */
  readonly keys: 'none' | 'first' | 'all' | 'pairs';
  readonly writes: boolean;
  /** Looks at many keys: runs after everything before it, and before everything behind it. */
  readonly alone?: true;
  /** Also for a client that has not shown who it is. */
  readonly stranger?: true;
  run(call: Call): void;
}
