/**
 * What every storage proof shares as a program: its options, and one JSON summary as the last line of its output.
 *
 * Options: `--seed N`, `--count N`, and those that the proof names itself. The exit code is 0 when `failures` is empty, else 1; 2 after wrong use.
 */

import { readFlags, wholeNumber } from '../command/flags.ts';

export interface ProofArguments {
  readonly seed: number;
  readonly count: number;
  /** The option's value; `undefined` where it is absent. */
  option(name: string): string | undefined;
  /** The option's value as a whole number. */
  numberOption(name: string, fallback: number): number;
  /** Whether the switch is there. */
  given(name: string): boolean;
}

/**
 * What the command line gives. Wrong use ends the process.
 *
 * @param known options with a value
 * @param switches those without
 */
export function proofArguments(
  defaults: { readonly seed: number; readonly count: number },
  known: readonly string[] = [],
  switches: readonly string[] = [],
): ProofArguments {
  const flags: Readonly<Record<string, string | boolean | undefined>> = readFlags({
    ...Object.fromEntries(['seed', 'count', ...known].map((name) => [name, { type: 'string' as const }])),
    ...Object.fromEntries(switches.map((name) => [name, { type: 'boolean' as const }])),
  });
  const option = (name: string): string | undefined => {
    const value = flags[name];
    return typeof value === 'string' ? value : undefined;
  };
  const numberOption = (name: string, fallback: number): number => {
    const text = option(name);
    return text === undefined ? fallback : wholeNumber(text, fallback, name, 0);
  };
  return {
    seed: numberOption('seed', defaults.seed),
    count: numberOption('count', defaults.count),
    option,
    numberOption,
    given: (name) => flags[name] === true,
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
