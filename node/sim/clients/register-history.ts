/**
 * What the clients of a strong bucket did and were told, key by key. An operation that was tried again under its operation id is one; without an
 * id each try is one of its own, since it may take effect on its own. Where the key may have forgotten the id meanwhile, a try may be either.
 */

import { linearize, type RegisterOperation } from '../checkers/linearizability.ts';
import type { Violation } from '../checkers/survival.ts';
import { MAX_RECORDS } from '../../src/cluster/versioning/register.ts';

interface Recorded {
  readonly number: number;
  readonly kind: 'read' | 'write';
  value: number;
  readonly what: string;
  readonly startUs: number;
  endUs: number;
  /** It certainly had no effect. */
  void: boolean;
}

/** An attempt may leave more than one record, and others come before it is looked up. */
const SURELY_KNOWN: number = MAX_RECORDS / 2;

export class RegisterHistory {
  readonly #byKey = new Map<string, Recorded[]>();
  /** Attempts that carried an operation id. */
  readonly #attempts = new Map<string, number>();
  #numbers = 0;

  get keys(): readonly string[] {
    return [...this.#byKey.keys()];
  }

  get size(): number {
    return this.#numbers;
  }

  /** Begins a write of its own number, or a delete. */
  write(key: string, kind: 'put' | 'delete', startUs: number): Recorded {
    return this.#begin(key, 'write', kind, startUs, kind === 'put' ? this.#numbers + 1 : 0);
  }

  /** Begins a read; `value` is set when it ends. */
  read(key: string, node: string, startUs: number): Recorded {
    return this.#begin(key, 'read', `read at ${node}`, startUs, 0);
  }

  /** An attempt with an operation id begins; answers how many there were before it. */
  identified(key: string): number {
    const before = this.#attempts.get(key) ?? 0;
    this.#attempts.set(key, before + 1);
    return before;
  }

  /** Whether the key may have forgotten the id of an attempt that had so many before it. */
  mayForget(key: string, before: number): boolean {
    return (this.#attempts.get(key) ?? 0) - before > SURELY_KNOWN;
  }

  #begin(key: string, kind: 'read' | 'write', what: string, startUs: number, value: number): Recorded {
    this.#numbers += 1;
    const recorded: Recorded = { number: this.#numbers, kind, value, what, startUs, endUs: Infinity, void: false };
    const list = this.#byKey.get(key);
    if (list === undefined) this.#byKey.set(key, [recorded]);
    else list.push(recorded);
    return recorded;
  }

  operationsOf(key: string): RegisterOperation[] {
    return (this.#byKey.get(key) ?? []).flatMap(({ number, kind, value, what, startUs, endUs, void: without }) =>
      without
        ? []
        : [
            {
              name: `${what} ${String(number)}${kind === 'read' ? ` [${String(value)}]` : ''} from ${ms(startUs)} to ${ms(endUs)}`,
              kind,
              value,
              startUs,
              endUs,
            },
          ],
    );
  }

  /** Every key's violation, if it has one. */
  check(): Violation[] {
    return this.keys.flatMap((key) => {
      const operations = this.operationsOf(key);
      const result = linearize(operations);
      if (result.kind === 'linearizable') return [];
      const why = result.kind === 'violation' ? result.why : `undecided after ${String(result.configurations)} configurations`;
      return [{ checker: 'linearizability', message: `key ${key}, ${String(operations.length)} operations: ${why}` }];
    });
  }
}

export type RegisterRecorded = Recorded;

function ms(us: number): string {
  return us === Infinity ? 'ever' : (us / 1e6).toFixed(6);
}
