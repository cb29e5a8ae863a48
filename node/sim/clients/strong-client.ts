/**
 * A client of the strong bucket: it reads, writes and deletes keys that others use at the same time, retries with operation ids or, as Redis
 * clients do, without, and now and then asks for fewer replicas than the bucket allows, which must be refused.
 */

import type { CoterieError } from '../../src/base/errors.ts';
import type { KvNode, Maybe, WriteOptions } from '../../src/runtime/kv.ts';
import type { Plan, StrongPlan } from '../faults/plan.ts';
import type { Machine, Reply } from '../machine.ts';
import type { Dice } from '../world/dice.ts';
import { POISON } from '../world/connection-end.ts';
import type { ClientParts } from './client.ts';
import type { RegisterHistory, RegisterRecorded } from './register-history.ts';
import { makeValue, recognise } from './value.ts';

export const STRONG_BUCKET = 'strong';

export interface StrongParts extends Omit<ClientParts, 'history' | 'onRead'> {
  readonly registers: RegisterHistory;
  readonly strong: StrongPlan;
}

const MOST_ATTEMPTS = 4;

function mayHaveHappened(reply: Reply<unknown>): boolean {
  return !(reply.kind === 'refused' || (reply.kind === 'error' && reply.error.outcome === 'none'));
}

function then<T, U>(maybe: Maybe<T>, use: (value: T) => U): Maybe<U> {
  return maybe instanceof Promise ? maybe.then(use) : use(maybe);
}

/** Reads a key at a machine into the history; answers why not when it fails. */
export async function strongReadAt(
  parts: StrongParts,
  machine: Machine,
  key: string,
  r: number | undefined,
  timeoutMs: number,
): Promise<Reply<number>> {
  const { world, registers, coverage } = parts;
  const startUs = world.nowUs;
  const reply = await machine.ask(timeoutMs, (node) =>
    then(node.get(STRONG_BUCKET, key, { timeoutMs, ...(r === undefined ? {} : { r }) }), ({ versions }) =>
      versions.map(({ value }) => recognise(key, value)),
    ),
  );
  if (reply.kind !== 'answer') return reply;
  const [value = 0, ...more] = reply.value.map((number) => number ?? -1);
  if (more.length > 0) world.fail('linearizability', `key ${key}: a read at ${machine.name} shows siblings`);
  const read = registers.read(key, machine.name, startUs);
  read.value = value;
  read.endUs = world.nowUs;
  coverage.add('strong reads answered');
  world.trace.note('client', `read ${key} at ${machine.name}`, `r=${String(r ?? '')} [${String(value)}]`);
  return { kind: 'answer', value };
}

export class StrongClient {
  readonly #parts: StrongParts;
  readonly #plan: Plan;
  readonly #dice: Dice;
  #home: Machine;

  constructor(parts: StrongParts) {
    this.#parts = parts;
    this.#plan = parts.plan;
    this.#dice = parts.world.dice.fork();
    this.#home = this.#dice.pick(parts.machines);
  }

  async run(until: () => boolean): Promise<void> {
    const { strong, world } = this.#parts;
    for (let done = 0; done < strong.operations && !until(); done += 1) {
      await world.sleep(this.#dice.fraction() * 2 * this.#plan.thinkMs);
      const key = this.#dice.pick(strong.keys);
      const several = strong.pooled ? this.#dice.between(2, 5) : 1;
      await Promise.all(Array.from({ length: several }, () => this.#one(key)));
    }
  }

  async #one(key: string): Promise<void> {
    if (this.#dice.chance(this.#parts.strong.pooled ? 0.3 : 0.5)) await this.#read(key);
    else await this.#write(key, this.#dice.chance(0.85) ? 'put' : 'delete');
  }

  /** The R or W to ask for: mostly none; else a legal one, or one that is not. */
  #quorum(least: number): number | undefined {
    const dice = this.#dice;
    if (dice.chance(0.6)) return undefined;
    return dice.oneIn(3) ? dice.between(least, this.#plan.n) : dice.between(1, this.#plan.n);
  }

  async #read(key: string): Promise<void> {
    const dice = this.#dice;
    const { strong } = this.#parts;
    const r = this.#quorum(strong.r);
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const reply = await strongReadAt(this.#parts, this.#home, key, r, dice.pick([500, 2000]));
      if (reply.kind === 'answer' || this.#isRefusal(reply, r, strong.r)) return;
      this.#complain(reply);
    }
  }

  /** Whether the request was refused as it must be. */
  #isRefusal(reply: Reply<unknown>, asked: number | undefined, least: number): boolean {
    if (asked === undefined || asked >= least || reply.kind !== 'error' || reply.error.code !== 'QUORUM_INVALID') return false;
    this.#parts.coverage.add('strong quorums refused');
    return true;
  }

  async #write(key: string, kind: 'put' | 'delete'): Promise<void> {
    const dice = this.#dice;
    const { registers, world, coverage, strong, machines } = this.#parts;
    const operationId = dice.chance(0.65) ? dice.bytes(16) : undefined;
    const w = this.#quorum(strong.w);
    const bytes = dice.oneIn(10) ? dice.between(0, 9000) : dice.between(0, this.#plan.valueBytes);
    let write = registers.write(key, kind, world.nowUs);
    const { number } = write;
    let uncertain = false;
    /** How many attempts with ids the key had before the first. */
    let before: number | undefined;
    for (let attempt = 1; ; attempt += 1) {
      const startUs = world.nowUs;
      if (operationId !== undefined) {
        const earlier = registers.identified(key);
        before ??= earlier;
      }
      const reply = await this.#send(key, kind, number, bytes, w, operationId, attempt);
      world.trace.note('client', `${kind} ${key} at ${this.#home.name}`, `${String(number)} w=${String(w ?? '')} ${told(reply)}`);
      // Of a key that may have forgotten the id the answer does not tell whether this was the same write, or one of its own.
      const ambiguous = uncertain && before !== undefined && registers.mayForget(key, before);
      if (ambiguous) this.#tryAgain(key, kind, write, startUs).void = !mayHaveHappened(reply);
      if (reply.kind === 'answer') {
        if (!ambiguous) write.endUs = world.nowUs;
        coverage.add('strong writes answered');
        if (uncertain && operationId !== undefined) coverage.add('strong retries by operation id');
        // Whoever has written looks at it, through whichever node.
        if (dice.oneIn(3)) await strongReadAt(this.#parts, dice.pick(machines), key, this.#quorum(strong.r), 500);
        return;
      }
      if (mayHaveHappened(reply)) uncertain = true;
      if (this.#isRefusal(reply, w, strong.w)) break;
      this.#complain(reply);
      const again = attempt < MOST_ATTEMPTS && (!uncertain || (operationId === undefined ? dice.oneIn(3) : dice.chance(0.9)));
      if (!again) break;
      await world.sleep(dice.between(5, 300));
      // Without an id every try is a write of its own.
      if (operationId === undefined && uncertain) {
        write = this.#tryAgain(key, kind, write, world.nowUs);
        uncertain = false;
      }
    }
    write.void = !uncertain;
  }

  #tryAgain(key: string, kind: 'put' | 'delete', before: RegisterRecorded, startUs: number): RegisterRecorded {
    const again = this.#parts.registers.write(key, kind, startUs);
    // The same value, because the bytes are the same.
    again.value = before.value;
    return again;
  }

  #send(
    key: string,
    kind: 'put' | 'delete',
    number: number,
    bytes: number,
    w: number | undefined,
    operationId: Uint8Array | undefined,
    attempt: number,
  ): Promise<Reply<void>> {
    const { seams } = this.#parts;
    const timeoutMs = this.#dice.pick([300, 1000, 3000]);
    return this.#home.ask(timeoutMs, (node: KvNode) => {
      const options: WriteOptions = {
        timeoutMs,
        ...(w === undefined ? {} : { w }),
        ...(operationId === undefined ? {} : { operationId: Uint8Array.from(operationId) }),
      };
      const sent = seams.write(options, attempt);
      const value = makeValue(key, number, bytes);
      const answer = kind === 'put' ? node.put(STRONG_BUCKET, key, value, {}, sent) : node.delete(STRONG_BUCKET, key, sent);
      value.fill(POISON);
      sent.operationId?.fill(POISON);
      return then(answer, () => undefined);
    });
  }

  /** After a failure: another node, mostly. */
  #complain(reply: Reply<unknown>): void {
    const { coverage, machines } = this.#parts;
    coverage.add(reply.kind === 'error' ? `failed with ${reply.error.code}` : `requests ${reply.kind}`);
    if (this.#dice.chance(0.7)) this.#home = this.#dice.pick(machines);
  }
}

function told(reply: Reply<unknown>): string {
  if (reply.kind !== 'error') return reply.kind;
  const error: CoterieError = reply.error;
  return `${error.code} (${error.outcome ?? 'outcome not said'})`;
}
