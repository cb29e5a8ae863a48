/** The flags of our own commands: the simulator's, proofs', fuzzers', chaos. Wrong use ends the process with 2, and says what was wrong and what there is. */

import { parseArgs } from 'node:util';

type Flag = { readonly type: 'string' } | { readonly type: 'boolean' };
type Flags<F extends Record<string, Flag>> = ReturnType<typeof parseArgs<{ options: F }>>['values'];

function wrongUse(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

/** What the command line gives for `options`. */
export function readFlags<F extends Record<string, Flag>>(options: F): Flags<F> {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const names = Object.entries(options).map(([name, { type }]) => (type === 'string' ? `--${name} VALUE` : `--${name}`));
    return wrongUse(`${error.message}\nThere are: ${names.join(', ')}`);
  }
}

/** The whole number, at least `least`, that `--name` gives as `text`; `fallback` where it is not given. */
export function wholeNumber(text: string | undefined, fallback: number, name: string, least: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (text !== '' && Number.isSafeInteger(value) && value >= least) return value;
  return wrongUse(`--${name} must be a whole number from ${String(least)}, not ${JSON.stringify(text)}`);
}

/** Ends the process where `only` is none of `names`. */
export function requireOneOf(only: string | undefined, names: readonly string[], name: string): void {
  if (only !== undefined && !names.includes(only)) {
    wrongUse(`--${name}: there is no ${JSON.stringify(only)}; there are: ${names.join(', ')}`);
  }
}
