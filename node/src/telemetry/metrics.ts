/**
 * Metrics: counters, gauges and histograms, kept in memory and written out in Prometheus' text format (version 0.0.4).
 *
 * Invariants: a name is registered once; the label names of a metric are fixed when it is; label values come from small closed sets (an operation, an
 * outcome, a member), never from keys or values, so that memory stays bounded.
 */

export type Labels = Readonly<Record<string, string>>;

/** A number that only grows. */
export interface Counter {
  add(by?: number): void;
  value(): number;
}

/** A number that goes both ways. */
export interface Gauge {
  set(value: number): void;
  value(): number;
}

/** A distribution: counts per bucket with fixed upper bounds, and the sum. */
export interface Histogram {
  observe(value: number): void;
  /** The upper bound of the bucket that holds the quantile `q` (0 to 1); 0 while nothing was observed. */
  quantile(q: number): number;
  count(): number;
}

/** Upper bounds for latencies in milliseconds: each about 1.5 times the one before, 50 us to 30 s. */
export const LATENCY_BUCKETS_MS: readonly number[] = [
  0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1, 1.5, 2.5, 4, 6, 10, 15, 25, 40, 60, 100, 150, 250, 400, 600, 1000, 1500, 2500, 4000, 6000, 10_000,
  30_000,
];

type Kind = 'counter' | 'gauge' | 'histogram';

interface Sample {
  write(name: string, labels: string, lines: string[]): void;
}

interface Family {
  readonly kind: Kind;
  readonly help: string;
  readonly samples: Map<string, Sample>;
}

const NAME = /^[a-z][a-z0-9_]*$/;

function labelText(labels: Labels): string {
  return Object.keys(labels)
    .sort()
    .map((key) => `${key}="${(labels[key] ?? '').replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`)
    .join(',');
}

function joined(name: string, labels: string): string {
  return labels === '' ? name : `${name}{${labels}}`;
}

class CounterSample implements Counter, Sample {
  #value = 0;

  add(by = 1): void {
    this.#value += by;
  }

  value(): number {
    return this.#value;
  }

  write(name: string, labels: string, lines: string[]): void {
    lines.push(`${joined(name, labels)} ${this.#value}`);
  }
}

class GaugeSample implements Gauge, Sample {
  #value = 0;
  readonly #read: (() => number) | undefined;

  constructor(read?: () => number) {
    this.#read = read;
  }

  set(value: number): void {
    this.#value = value;
  }

  value(): number {
    return this.#read === undefined ? this.#value : this.#read();
  }

  write(name: string, labels: string, lines: string[]): void {
    lines.push(`${joined(name, labels)} ${this.value()}`);
  }
}

class HistogramSample implements Histogram, Sample {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;
  #count = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let low = 0;
    let high = this.#bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (value <= (this.#bounds[middle] ?? Infinity)) high = middle;
      else low = middle + 1;
    }
    this.#counts[low] = (this.#counts[low] ?? 0) + 1;
    this.#sum += value;
    this.#count += 1;
  }

  count(): number {
    return this.#count;
  }

  quantile(q: number): number {
    if (this.#count === 0) return 0;
    const rank = q * this.#count;
    let seen = 0;
    for (let i = 0; i < this.#bounds.length; i += 1) {
      seen += this.#counts[i] ?? 0;
      if (seen >= rank) return this.#bounds[i] ?? Infinity;
    }
    return this.#bounds.at(-1) ?? 0;
  }

  write(name: string, labels: string, lines: string[]): void {
    const comma = labels === '' ? '' : ',';
    let seen = 0;
    for (let i = 0; i <= this.#bounds.length; i += 1) {
      seen += this.#counts[i] ?? 0;
      const bound = this.#bounds[i];
      lines.push(`${name}_bucket{${labels}${comma}le="${bound === undefined ? '+Inf' : String(bound)}"} ${seen}`);
    }
    lines.push(`${joined(`${name}_sum`, labels)} ${this.#sum}`, `${joined(`${name}_count`, labels)} ${this.#count}`);
  }
}

/** All metrics of one process (or of one simulated node). */
export class MetricRegistry {
  readonly #families = new Map<string, Family>();

  /** The counter of that name and labels; the same one when asked again. */
  counter(name: string, help: string, labels: Labels = {}): Counter {
    return this.#sample('counter', name, help, labels, () => new CounterSample());
  }

  gauge(name: string, help: string, labels: Labels = {}): Gauge {
    return this.#sample('gauge', name, help, labels, () => new GaugeSample());
  }

  /** A gauge whose value is read when the metrics are. */
  observedGauge(name: string, help: string, read: () => number, labels: Labels = {}): Gauge {
    return this.#sample('gauge', name, help, labels, () => new GaugeSample(read));
  }

  histogram(name: string, help: string, bounds: readonly number[] = LATENCY_BUCKETS_MS, labels: Labels = {}): Histogram {
    return this.#sample('histogram', name, help, labels, () => new HistogramSample(bounds));
  }

  /** All metrics as Prometheus text. */
  expose(): string {
    const lines: string[] = [];
    for (const [name, family] of [...this.#families].sort(([a], [b]) => (a < b ? -1 : 1))) {
      lines.push(`# HELP ${name} ${family.help}`, `# TYPE ${name} ${family.kind}`);
      for (const [labels, sample] of family.samples) sample.write(name, labels, lines);
    }
    return `${lines.join('\n')}\n`;
  }

  #sample<S extends Sample>(kind: Kind, name: string, help: string, labels: Labels, make: () => S): S {
    if (!NAME.test(name)) throw new Error(`broken invariant: a metric's name is snake_case, not ${name}`);
    let family = this.#families.get(name);
    if (family === undefined) {
      family = { kind, help, samples: new Map() };
      this.#families.set(name, family);
    }
    if (family.kind !== kind) throw new Error(`broken invariant: metric ${name} is a ${family.kind}, not a ${kind}`);
    const text = labelText(labels);
    const known = family.samples.get(text);
    // The kind was checked above, and each kind has one class.
    if (known !== undefined) return known as S;
    const sample = make();
    family.samples.set(text, sample);
    return sample;
  }
}
