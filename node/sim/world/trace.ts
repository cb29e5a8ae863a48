/**
 * What happened in a run, as a 64-bit hash (two runs of one seed must have equal ones) and, on request, as readable lines.
 * The hash covers every note: its virtual time, who, what, and the detail.
 */

export class Trace {
  #a = 0x243f6a88;
  #b = 0x85a308d3;
  #notes = 0;
  readonly #lines: string[] | undefined;
  readonly #now: () => number;

  /** @param now virtual microseconds @param readable keeps the lines */
  constructor(now: () => number, readable: boolean) {
    this.#now = now;
    this.#lines = readable ? [] : undefined;
  }

  /** Whether lines are kept: lets a caller spare the making of a costly detail that the hash does not need. */
  get readable(): boolean {
    return this.#lines !== undefined;
  }

  get lines(): readonly string[] {
    return this.#lines ?? [];
  }

  get notes(): number {
    return this.#notes;
  }

  note(who: string, what: string, detail: string | number = ''): void {
    this.#notes += 1;
    this.#mixText(who);
    this.#mixText(what);
    if (typeof detail === 'number') this.#mixNumber(detail);
    else this.#mixText(detail);
    this.#mixNumber(this.#now());
    this.#lines?.push(`${stamp(this.#now())} ${who.padEnd(8)} ${what} ${String(detail)}`.trimEnd());
  }

  /** The hash as 16 hexadecimal digits. */
  get hash(): string {
    return (this.#a >>> 0).toString(16).padStart(8, '0') + (this.#b >>> 0).toString(16).padStart(8, '0');
  }

  #mixText(text: string): void {
    let a = this.#a;
    for (let i = 0; i < text.length; i += 1) a = Math.imul(a ^ text.charCodeAt(i), 0x01000193);
    this.#a = a ^ text.length;
    this.#b = Math.imul(this.#b ^ (a >>> 15) ^ a, 0x85ebca6b) + 0x9e3779b9;
  }

  #mixNumber(value: number): void {
    const low = value | 0;
    const high = Math.floor(value / 0x1_0000_0000) | 0;
    this.#a = Math.imul(this.#a ^ low, 0xcc9e2d51) ^ high;
    this.#b = Math.imul(this.#b ^ (this.#a >>> 13) ^ high, 0xc2b2ae35) + low;
  }
}

function stamp(us: number): string {
  return (us / 1e6).toFixed(6).padStart(11);
}
