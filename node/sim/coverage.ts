/** What a run reached: counts by name, added up over seeds, and the least that a run of seeds must reach. */

export class Coverage {
  readonly counts = new Map<string, number>();

  add(name: string, by = 1): void {
    if (by === 0) return;
    this.counts.set(name, (this.counts.get(name) ?? 0) + by);
  }

  merge(other: Coverage): void {
    for (const [name, count] of other.counts) this.add(name, count);
  }

  /** Adds what the counters of a node rose to. */
  addAll(prefix: string, counters: Readonly<Record<string, unknown>>): void {
    for (const [name, count] of Object.entries(counters)) if (typeof count === 'number') this.add(`${prefix}${name}`, count);
  }

  get(name: string): number {
    return this.counts.get(name) ?? 0;
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries([...this.counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
