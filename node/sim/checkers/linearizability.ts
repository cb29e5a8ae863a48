/**
 * "A strong bucket is linearizable per key" (DESIGN §4.4): whether some order of the operations on one register explains all that clients were
 * told. In that order each operation comes after all that ended before it began, and each read shows the last value written before it.
 *
 * The search is Wing and Gong's (1993) with Lowe's memory of configurations (2017), key by key, because registers are independent (Herlihy and
 * Wing: linearizability is local). What keeps it cheap:
 * - a read that fits is taken at once: it changes nothing, so to take it later helps nobody;
 * - writes that were never answered may take effect at any time after they began, or never: those that no read shows are left out, and of those
 *   with one value the earliest begun goes first, since whatever a later one could explain, it can;
 * - a configuration, the set of operations taken and the value, is looked at once.
 */

/** What a client did on one key. */
export interface RegisterOperation {
  /** For the report. */
  readonly name: string;
  readonly kind: 'read' | 'write';
  /** What was read or written; 0: nothing there. */
  readonly value: number;
  readonly startUs: number;
  /** Infinity where it was never answered: a write may still take effect, a read says nothing. */
  readonly endUs: number;
}

export type Linearization =
  | { readonly kind: 'linearizable' }
  | { readonly kind: 'violation'; readonly why: string }
  /** The search was given up after so many configurations. */
  | { readonly kind: 'undecided'; readonly configurations: number };

/** Far more than any history of the simulator needs. */
const MOST_CONFIGURATIONS = 300_000;

interface Step {
  /** Operations taken in this step: perhaps a write, then the reads that fit. */
  readonly taken: number[];
  readonly valueBefore: number;
  /** Writes that may come next, best first. */
  readonly choices: readonly number[];
  next: number;
}

class Search {
  readonly #operations: readonly RegisterOperation[];
  readonly #taken: Uint8Array;
  readonly #seen = new Set<string>();
  readonly #needed: number;
  #answered = 0;
  /** No operation before it is left. */
  #first = 0;
  #value = 0;
  /** The most operations that were explained, and the one that ended first among those that were then left. */
  #most = -1;
  #stuck = '';

  /** @param operations sorted by when they began */
  constructor(operations: readonly RegisterOperation[]) {
    this.#operations = operations;
    this.#taken = new Uint8Array(operations.length);
    this.#needed = operations.filter(({ endUs }) => endUs !== Infinity).length;
  }

  run(): Linearization {
    const steps: Step[] = [this.#enter(undefined)];
    while (this.#answered < this.#needed) {
      const step = steps.at(-1);
      if (step === undefined) return { kind: 'violation', why: this.#stuck };
      const write = step.choices[step.next];
      if (write === undefined) {
        this.#leave(step);
        steps.pop();
        continue;
      }
      step.next += 1;
      const entered = this.#enter(write);
      const configuration = this.#configuration();
      if (this.#answered < this.#needed && this.#seen.has(configuration)) {
        this.#leave(entered);
        continue;
      }
      this.#seen.add(configuration);
      if (this.#seen.size > MOST_CONFIGURATIONS) return { kind: 'undecided', configurations: this.#seen.size };
      steps.push(entered);
    }
    return { kind: 'linearizable' };
  }

  /** Takes a write, then every read that fits. */
  #enter(write: number | undefined): Step {
    const valueBefore = this.#value;
    const taken: number[] = [];
    if (write !== undefined) {
      this.#value = this.#operations[write]?.value ?? 0;
      this.#take(write, taken);
    }
    while (this.#takeReads(taken));
    return { taken, valueBefore, choices: this.#choices(), next: 0 };
  }

  #take(index: number, taken: number[]): void {
    this.#taken[index] = 1;
    if (this.#operations[index]?.endUs !== Infinity) this.#answered += 1;
    taken.push(index);
    while (this.#taken[this.#first] === 1) this.#first += 1;
  }

  #leave(step: Step): void {
    for (const index of step.taken) {
      this.#taken[index] = 0;
      if (this.#operations[index]?.endUs !== Infinity) this.#answered -= 1;
      if (index < this.#first) this.#first = index;
    }
    this.#value = step.valueBefore;
  }

  /** Before when the next operation must have begun: none that is left ended before. */
  #horizon(): number {
    let horizon = Infinity;
    for (let index = this.#first; index < this.#operations.length; index += 1) {
      const operation = this.#operations[index];
      if (operation === undefined || operation.startUs > horizon) break;
      if (this.#taken[index] === 0 && operation.endUs < horizon) horizon = operation.endUs;
    }
    return horizon;
  }

  #takeReads(taken: number[]): boolean {
    const horizon = this.#horizon();
    let found = false;
    for (let index = this.#first; index < this.#operations.length; index += 1) {
      const operation = this.#operations[index];
      if (operation === undefined || operation.startUs > horizon) break;
      if (this.#taken[index] === 0 && operation.kind === 'read' && operation.value === this.#value) {
        this.#take(index, taken);
        found = true;
      }
    }
    return found;
  }

  /** The writes that may come next: those that must be first, those that nobody answered last. */
  #choices(): number[] {
    const horizon = this.#horizon();
    const choices: number[] = [];
    const unanswered = new Set<number>();
    let stuck: RegisterOperation | undefined;
    for (let index = this.#first; index < this.#operations.length; index += 1) {
      const operation = this.#operations[index];
      if (operation === undefined || operation.startUs > horizon) break;
      if (this.#taken[index] !== 0) continue;
      if (stuck === undefined || operation.endUs < stuck.endUs) stuck = operation;
      if (operation.kind !== 'write') continue;
      if (operation.endUs === Infinity) {
        if (unanswered.has(operation.value)) continue;
        unanswered.add(operation.value);
      }
      choices.push(index);
    }
    if (this.#answered > this.#most && stuck !== undefined) {
      this.#most = this.#answered;
      this.#stuck = `${String(this.#answered)} of ${String(this.#needed)} operations fit; then ${stuck.name} does not, where ${String(this.#value)} was written last`;
    }
    return choices.sort((a, b) => (this.#operations[a]?.endUs ?? 0) - (this.#operations[b]?.endUs ?? 0) || a - b);
  }

  #configuration(): string {
    let text = `${String(this.#value)} ${String(this.#first)} `;
    for (let index = this.#first; index < this.#taken.length; index += 1) if (this.#taken[index] === 1) text += `${String(index)},`;
    return text;
  }
}

/** Whether the operations on one key can be put in an order that explains them. The key has nothing at first. */
export function linearize(operations: readonly RegisterOperation[]): Linearization {
  const read = new Set(operations.flatMap(({ kind, value, endUs }) => (kind === 'read' && endUs !== Infinity ? [value] : [])));
  const relevant = operations.filter(({ kind, value, endUs }) => endUs !== Infinity || (kind === 'write' && read.has(value)));
  const stray = relevant.find(
    ({ kind, value }) => kind === 'read' && value !== 0 && !relevant.some((other) => other.kind === 'write' && other.value === value),
  );
  if (stray !== undefined) return { kind: 'violation', why: `${stray.name} shows what nobody wrote, or what certainly was not written` };
  return new Search(relevant.toSorted((a, b) => a.startUs - b.startUs || a.endUs - b.endUs)).run();
}
