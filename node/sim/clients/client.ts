/**
 * A client as real ones are: it has a favourite node and goes to another when that one fails, gives up in time, retries (by operation id,
 * or, as Redis clients do, blindly), keeps contexts for a while, and writes keys that others write too. Everything that it is told goes
 * into the history, and every answer to a read is checked at once.
 */

import type { CoterieError } from '../../src/base/errors.ts';
import type { KvNode, Maybe, QuorumKind, ReadResult, WriteOptions, WriteResult } from '../../src/runtime/kv.ts';
import type { Coverage } from '../coverage.ts';
import type { Plan, PlannedKey } from '../faults/plan.ts';
import type { Machine, Reply } from '../machine.ts';
import type { Dice } from '../world/dice.ts';
import { POISON } from '../world/connection-end.ts';
import type { World } from '../world/world.ts';
import type { History, ReadRecord, WriteOutcome, WriteRecord } from './history.ts';
import { makeValue, recognise } from './value.ts';

export const BUCKET = 'default';
/** How the keys of faults/stragglers.ts begin: they carry no operation ids either. */
export const LATE_KEYS = 'late-';

/** A context that the client was given, and the writes that it is known to cover. */
interface HeldContext {
  readonly token: Uint8Array;
  readonly covers: readonly number[];
}

/** What a mutant may do to a request on its way into the node. */
export interface ClientSeams {
  write(options: WriteOptions, attempt: number): WriteOptions;
}

export interface ClientParts {
  readonly world: World;
  readonly plan: Plan;
  readonly machines: readonly Machine[];
  readonly history: History;
  readonly coverage: Coverage;
  readonly seams: ClientSeams;
  /** Judges a read; it fails the run if it must. */
  readonly onRead: (read: ReadRecord) => void;
}

interface ReadAnswer {
  readonly read: ReadRecord;
  readonly context: Uint8Array | undefined;
}

interface Expiry {
  readonly expireAtMs: number;
  readonly keepTtl: boolean;
}

interface ReadAsked {
  readonly r: number;
  readonly quorum: QuorumKind;
  readonly timeoutMs: number;
}

const LASTING: Expiry = { expireAtMs: 0, keepTtl: false };
const MOST_ATTEMPTS = 4;
const CROWD_CHANCE = 0.3;

function then<T, U>(maybe: Maybe<T>, use: (value: T) => U): Maybe<U> {
  return maybe instanceof Promise ? maybe.then(use) : use(maybe);
}

/** What a failed attempt at a write means. */
function outcomeOf(error: CoterieError): WriteOutcome {
  return error.outcome === 'none' ? 'none' : 'unknown';
}

/** Reads a key at a machine and records what it shows; answers why not when it fails. */
export async function readAt(parts: ClientParts, machine: Machine, key: string, asked: ReadAsked): Promise<Reply<ReadAnswer>> {
  const { r, timeoutMs } = asked;
  const startUs = parts.world.nowUs;
  let startWallMs = 0;
  const reply = await machine.ask(timeoutMs, (node, wallMs) => {
    startWallMs = wallMs;
    return then(node.get(BUCKET, key, asked), (result: ReadResult) => ({
      versions: result.versions.map(({ value, expireAtMs }) => ({ number: recognise(key, value), expireAtMs, shows: shows(value) })),
      context: result.context === undefined ? undefined : Uint8Array.from(result.context),
    }));
  });
  if (reply.kind !== 'answer') return reply;
  const { versions, context } = reply.value;
  const read: ReadRecord = {
    key,
    node: machine.name,
    r,
    sloppy: asked.quorum === 'sloppy',
    startUs,
    endUs: parts.world.nowUs,
    wallMs: startWallMs,
    versions,
  };
  parts.coverage.add('reads answered');
  if (versions.length > 1) parts.coverage.add('siblings read');
  const told = versions.map((version) => String(version.number ?? '?')).join(' ');
  parts.world.trace.note('client', `read ${key} at ${machine.name}`, `r=${String(r)} ${asked.quorum} [${told}]`);
  parts.onRead(read);
  return { kind: 'answer', value: { read, context } };
}

function shows(value: Uint8Array): string {
  const head = Array.from(value.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${String(value.length)} bytes ${head}`;
}

export class Client {
  readonly #parts: ClientParts;
  readonly #dice: Dice;
  readonly #held = new Map<string, HeldContext>();
  #home: Machine;

  constructor(parts: ClientParts) {
    this.#parts = parts;
    this.#dice = parts.world.dice.fork();
    this.#home = this.#dice.pick(parts.machines);
  }

  /** Does the plan's number of operations, or fewer when `until` says that it is time. */
  async run(until: () => boolean): Promise<void> {
    const { plan, world } = this.#parts;
    for (let done = 0; done < plan.operations && !until(); done += 1) {
      await world.sleep(this.#dice.fraction() * 2 * plan.thinkMs);
      if (plan.admission !== undefined && this.#dice.chance(CROWD_CHANCE)) await this.#crowd();
      else await this.#one(this.#dice.pick(plan.keys));
    }
  }

  /** Sets a key that nobody else touches. */
  put(key: string): Promise<void> {
    return this.#put(key, false);
  }

  /** Sets a key that nobody else touches at all N replicas, fallbacks not counted. */
  async putAtAll(key: string, bytes: number): Promise<void> {
    const { n } = this.#parts.plan;
    const write = this.#begin(key, 'put', undefined, [0], { w: n, sloppy: false, operation: false });
    await this.#send(write, undefined, bytes, LASTING);
  }

  /** Sets a key at one node, over no more than this client was last told of it; no retry can be told from a write. */
  async putOver(key: string, at: Machine, asked: Pick<WriteRecord, 'w' | 'sloppy'>): Promise<void> {
    this.#home = at;
    const context = this.#held.get(key);
    const write = this.#begin(key, 'put', context, [0], { ...asked, operation: false });
    await this.#send(write, context, this.#parts.plan.valueBytes, LASTING);
  }

  /** Reads a key, and remembers what it was told. */
  async learn(key: string, at: Machine): Promise<void> {
    const { n } = this.#parts.plan;
    const reply = await readAt(this.#parts, at, key, { r: n, quorum: 'strict', timeoutMs: 2000 });
    if (reply.kind === 'answer') this.#hold(key, reply.value);
  }

  /** Deletes it. */
  remove(key: string): Promise<void> {
    return this.#delete(key, false);
  }

  /** More operations at once than the nodes of such a plan take on. */
  async #crowd(): Promise<void> {
    const { plan } = this.#parts;
    await Promise.all(Array.from({ length: this.#dice.between(3, 8) }, () => this.#one(this.#dice.pick(plan.keys))));
  }

  async #one(key: PlannedKey): Promise<void> {
    const dice = this.#dice;
    switch (key.kind) {
      case 'register':
        if (dice.chance(0.45)) await this.#read(key.name);
        else if (dice.chance(0.85)) await this.#put(key.name, false);
        else await this.#delete(key.name, false);
        return;
      case 'context':
        if (dice.chance(0.3)) await this.#read(key.name);
        else if (dice.chance(0.85)) await this.#put(key.name, true);
        else await this.#delete(key.name, true);
        return;
      case 'mixed':
        if (dice.chance(0.3)) await this.#burst();
        else if (dice.chance(0.8)) await this.#put(key.name, dice.oneIn(2));
        else await this.#delete(key.name, dice.oneIn(2));
        return;
      case 'fleeting':
        if (dice.chance(0.4)) await this.#read(key.name);
        else if (dice.chance(0.5)) await this.#put(key.name, dice.oneIn(3));
        else await this.#delete(key.name, dice.oneIn(3));
        return;
      case 'expiring':
        if (dice.chance(0.3)) await this.#read(key.name);
        else if (dice.chance(0.5)) await this.#put(key.name, dice.oneIn(4), true);
        else await this.#expire(key.name);
        return;
    }
  }

  /** Several reads at once at one node, as an MGET. */
  async #burst(): Promise<void> {
    const { plan } = this.#parts;
    await Promise.all(
      this.#dice
        .shuffled(plan.keys)
        .slice(0, 5)
        .map((key) => this.#read(key.name)),
    );
  }

  #quorum(): QuorumKind {
    return this.#parts.plan.quorums === 'mixed' && this.#dice.chance(0.7) ? 'sloppy' : 'strict';
  }

  async #read(key: string): Promise<ReadAnswer | undefined> {
    const dice = this.#dice;
    const r = dice.chance(0.75) ? this.#parts.plan.r : dice.between(1, this.#parts.plan.n);
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const reply = await readAt(this.#parts, this.#home, key, { r, quorum: this.#quorum(), timeoutMs: dice.pick([500, 2000]) });
      if (reply.kind === 'answer') return reply.value;
      this.#complain(reply);
    }
    return undefined;
  }

  /** The context to write with: held from before now and then, else from a read now. `undefined`: write blind. */
  async #context(key: string): Promise<HeldContext | undefined> {
    const held = this.#held.get(key);
    if (held !== undefined && this.#dice.chance(0.35)) return held;
    const answer = await this.#read(key);
    if (answer === undefined) return undefined;
    return this.#hold(key, answer);
  }

  #hold(key: string, { read, context }: ReadAnswer): HeldContext | undefined {
    if (context === undefined) return undefined;
    const covers = read.versions.flatMap((version) => (version.number === undefined ? [] : [version.number]));
    const fresh = { token: context, covers };
    this.#held.set(key, fresh);
    return fresh;
  }

  async #put(key: string, withContext: boolean, expiring = false): Promise<void> {
    const dice = this.#dice;
    const { plan, world } = this.#parts;
    const context = withContext ? await this.#context(key) : undefined;
    const bytes = dice.oneIn(10) ? dice.between(0, 9000) : dice.between(0, plan.valueBytes);
    // The client's idea of the time is as good as the machines'.
    const soonMs = Math.floor((world.epochUs + world.nowUs) / 1000) + dice.between(100, 8000);
    const expireAtMs = expiring && dice.oneIn(2) ? soonMs : 0;
    const keepTtl = expiring && expireAtMs === 0 && dice.oneIn(3);
    const write = this.#begin(key, 'put', context, keepTtl ? [] : [expireAtMs]);
    await this.#send(write, context, bytes, { expireAtMs, keepTtl });
  }

  async #send(write: WriteRecord, context: HeldContext | undefined, bytes: number, expiry: Expiry): Promise<void> {
    const { key, number } = write;
    await this.#attempt(write, context, (node, options) => {
      const value = makeValue(key, number, bytes);
      const answer = node.put(BUCKET, key, value, expiry, options);
      value.fill(POISON);
      return answer;
    });
  }

  async #delete(key: string, withContext: boolean): Promise<void> {
    const context = withContext ? await this.#context(key) : undefined;
    const write = this.#begin(key, 'delete', context, []);
    await this.#attempt(write, context, (node, options) => node.delete(BUCKET, key, options));
  }

  async #expire(key: string): Promise<void> {
    const dice = this.#dice;
    const { history, world } = this.#parts;
    const atMs = dice.oneIn(3) ? 0 : Math.floor((world.epochUs + world.nowUs) / 1000) + dice.between(100, 6000);
    const quorum = this.#quorum();
    const change = history.beginExpiry(key, atMs, world.nowUs);
    const timeoutMs = dice.pick([500, 2000]);
    const reply = await this.#home.ask(timeoutMs, (node) =>
      then(node.expire(BUCKET, key, atMs, { timeoutMs, quorum }), ({ changed }) => changed),
    );
    if (reply.kind === 'answer') change.outcome = 'acknowledged';
    else change.outcome = reply.kind === 'refused' || (reply.kind === 'error' && outcomeOf(reply.error) === 'none') ? 'none' : 'unknown';
    if (reply.kind !== 'answer') this.#complain(reply);
    world.trace.note('client', `expire ${key}`, `${String(atMs)} ${change.outcome}`);
  }

  #begin(
    key: string,
    kind: 'put' | 'delete',
    context: HeldContext | undefined,
    expiries: readonly number[],
    asked?: Pick<WriteRecord, 'w' | 'sloppy' | 'operation'>,
  ): WriteRecord {
    const dice = this.#dice;
    const { history, plan, world } = this.#parts;
    return history.begin({
      key,
      kind,
      blind: context === undefined,
      covers: context?.covers ?? [],
      w: asked?.w ?? (dice.chance(0.8) ? plan.w : dice.between(1, plan.n)),
      sloppy: asked?.sloppy ?? this.#quorum() === 'sloppy',
      operation: asked?.operation ?? (dice.oneIn(2) && !plan.anonymous.has(key) && !key.startsWith(LATE_KEYS)),
      expiries,
      startUs: world.nowUs,
    });
  }

  /** Sends the write, again where that is safe or usual, until it is acknowledged or given up. */
  async #attempt(
    write: WriteRecord,
    context: HeldContext | undefined,
    send: (node: KvNode, options: WriteOptions) => Maybe<WriteResult>,
  ): Promise<void> {
    const dice = this.#dice;
    const { world, coverage, seams } = this.#parts;
    const operationId = write.operation ? dice.bytes(16) : undefined;
    let uncertain = false;
    for (;;) {
      write.attempts += 1;
      const attempt = write.attempts;
      const timeoutMs = dice.pick([300, 1000, 3000]);
      const reply = await this.#home.ask(timeoutMs, (node) => {
        const options: WriteOptions = {
          w: write.w,
          quorum: write.sloppy ? 'sloppy' : 'strict',
          timeoutMs,
          ...(context === undefined ? {} : { context: Uint8Array.from(context.token) }),
          ...(operationId === undefined ? {} : { operationId: Uint8Array.from(operationId) }),
        };
        const sent = seams.write(options, attempt);
        const answer = send(node, sent);
        sent.context?.fill(POISON);
        sent.operationId?.fill(POISON);
        return then(answer, ({ context: token, siblings }) => ({
          context: token === undefined ? undefined : Uint8Array.from(token),
          siblings,
        }));
      });
      world.trace.note(
        'client',
        `${write.kind} ${write.key} at ${this.#home.name}`,
        `${String(write.number)} ${context === undefined ? 'blind' : `over [${write.covers.join(' ')}]`} w=${String(write.w)} ${write.sloppy ? 'sloppy' : 'strict'} ${replyText(reply)}`,
      );
      if (reply.kind === 'answer') {
        this.#acknowledged(write, reply.value, context);
        if (uncertain && operationId !== undefined) coverage.add('retries by operation id');
        return;
      }
      const none = reply.kind === 'refused' || (reply.kind === 'error' && outcomeOf(reply.error) === 'none');
      if (!none) uncertain = true;
      this.#complain(reply);
      const again = attempt < MOST_ATTEMPTS && (none || (operationId === undefined ? write.blind && dice.oneIn(3) : dice.chance(0.9)));
      if (!again) break;
      if (uncertain && operationId === undefined) write.mayRepeat = true;
      if (uncertain) write.retried = true;
      await world.sleep(dice.between(5, 300));
    }
    write.outcome = uncertain ? 'unknown' : 'none';
    if (!uncertain) write.settledUs = world.nowUs;
  }

  #acknowledged(write: WriteRecord, result: { context: Uint8Array | undefined; siblings: number }, context: HeldContext | undefined): void {
    const { world, coverage } = this.#parts;
    write.outcome = 'acknowledged';
    write.acknowledgedUs = world.nowUs;
    // An earlier attempt without an operation id may still do it once more.
    if (!write.mayRepeat) write.settledUs = world.nowUs;
    coverage.add('writes acknowledged');
    if (result.siblings > 1) coverage.add('siblings made');
    if (context !== undefined && context.covers.length > 1) coverage.add('siblings resolved');
    if (result.context === undefined) this.#held.delete(write.key);
    else this.#held.set(write.key, { token: result.context, covers: [write.number, ...write.covers] });
  }

  /** After a failure: another node, mostly. */
  #complain(reply: Reply<unknown>): void {
    const { coverage, machines } = this.#parts;
    coverage.add(reply.kind === 'error' ? `failed with ${reply.error.code}` : `requests ${reply.kind}`);
    if (reply.kind === 'error' && reply.error.code === 'BUSY' && reply.error.outcome === 'none') coverage.add('shed before effect');
    if (this.#dice.chance(0.7)) this.#home = this.#dice.pick(machines);
  }
}

function replyText(reply: Reply<unknown>): string {
  if (reply.kind !== 'error') return reply.kind;
  return `${reply.error.code} (${reply.error.outcome ?? 'outcome not said'})`;
}
