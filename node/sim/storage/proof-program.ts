/**
 * What every storage proof shares as a program: its options, and one JSON summary as the last line of its output.
 *
 * Options: `--seed N`, `--count N`, and those that the proof names itself (`--name value`, or `--name` alone for true).
 * The exit code is 0 when `failures` is empty, else 1.
 */

export interface ProofArguments {
  readonly seed: number;
  readonly count: number;
  /** The option's value; '' where it stands alone; `undefined` where it is absent. */
  option(name: string): string | undefined;
  /** The option's value as a whole number. */
  numberOption(name: string, fallback: number): number;
}

/** @throws Error naming the first option that is not known or not a number */
export function proofArguments(defaults: { seed: number; count: number }, known: readonly string[] = []): ProofArguments {
  const options = new Map<string, string>();
  const words = process.argv.slice(2);
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const name = word.replace(/^--/, '');
    if (!word.startsWith('--') || !['seed', 'count', ...known].includes(name)) {
      throw new Error(`unknown option ${word}; known are ${['seed', 'count', ...known].map((each) => `--${each}`).join(' ')}`);
    }
    const value = words[at + 1];
    if (value === undefined || value.startsWith('--')) {
      options.set(name, '');
    } else {
      options.set(name, value);
      at += 1;
    }
  }
  const numberOption = (name: string, fallback: number): number => {
    const text = options.get(name);
    if (text === undefined) return fallback;
    const value = Number(text);
    if (text === '' || !Number.isSafeInteger(value)) throw new Error(`--${name} must be a whole number, not ${text}`);
    return value;
  };
  return {
    seed: numberOption('seed', defaults.seed),
    count: numberOption('count', defaults.count),
    option: (name) => options.get(name),
    numberOption,
  };
}

export interface ProofSummary {
  readonly proof: string;
  readonly seed: number;
  /** What went wrong, each with what it takes to see it again; at most a few. */
  readonly failures: readonly string[];
  readonly [figure: string]: unknown;
}

/** Prints the summary as the last line and sets the exit code. */
export function report(summary: ProofSummary): void {
  process.stdout.write(`${JSON.stringify(summary)}\n`);
  process.exitCode = summary.failures.length === 0 ? 0 : 1;
}

/** Seconds of processor time that this process has used. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return Math.round((user + system) / 10_000) / 100;
}

export function messageOf(error: unknown): string {
  if (!Error.isError(error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? ` (${error.code})` : '';
  const where = (error.stack ?? '')
    .split('\n')
    .slice(1, 5)
    .map((line) => line.trim())
    .join(' < ');
  return `${error.name}: ${error.message}${code} ${where}`;
}
