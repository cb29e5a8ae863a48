/** Flags of a command: declared once, parsed, and turned into its help text. */

import { parseArgs } from 'node:util';

import { CoterieError } from '../base/errors.ts';

export interface Flag {
  /** Without the dashes. */
  readonly name: string;
  /** Shown in the help behind the name; absent for a switch. */
  readonly value?: string;
  readonly about: string;
}

export interface CommandHelp {
  /** The words after `coterie`: `put KEY VALUE`. */
  readonly usage: string;
  readonly about: string;
  readonly flags: readonly Flag[];
  readonly notes?: readonly string[];
}

export interface ParsedFlags {
  readonly positionals: readonly string[];
  readonly values: Readonly<Record<string, string | boolean>>;
}

/** Flags that every command takes. */
const EVERYWHERE: readonly Flag[] = [{ name: 'help', about: 'Show this help' }];

/**
 * Splits arguments into positionals and flags.
 *
 * @throws CoterieError REQUEST_INVALID on an unknown flag, a missing value, or too few or too many positionals
 */
export function parseFlags(help: CommandHelp, args: readonly string[], positionals: { least: number; most: number }): ParsedFlags {
  const options = Object.fromEntries(
    [...help.flags, ...EVERYWHERE].map((flag) => [
      flag.name,
      { type: flag.value === undefined ? ('boolean' as const) : ('string' as const) },
    ]),
  );
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    const reason = (error as Partial<Error>).message?.split('. ')[0] ?? 'wrong flags';
    throw new CoterieError('REQUEST_INVALID', `${reason}; see coterie ${firstWord(help)} --help`);
  }
  const values: Record<string, string | boolean> = {};
  for (const [name, value] of Object.entries(parsed.values)) if (value !== undefined) values[name] = value;
  const count = parsed.positionals.length;
  if (values['help'] !== true && (count < positionals.least || count > positionals.most)) {
    throw new CoterieError('REQUEST_INVALID', `wrong number of arguments; usage: coterie ${help.usage}`);
  }
  return { positionals: parsed.positionals, values };
}

function firstWord(help: CommandHelp): string {
  return help.usage.split(' ')[0] ?? '';
}

/** The text of `coterie COMMAND --help`. */
export function helpText(help: CommandHelp): string {
  const rows = [...help.flags, ...EVERYWHERE].map(
    (flag) => [`--${flag.name}${flag.value === undefined ? '' : ` ${flag.value}`}`, flag.about] as const,
  );
  const width = Math.max(...rows.map(([flag]) => flag.length));
  const lines = [
    `Usage: coterie ${help.usage}`,
    '',
    help.about,
    '',
    'Flags:',
    ...rows.map(([flag, about]) => `  ${flag.padEnd(width)}  ${about}`),
  ];
  if (help.notes !== undefined) lines.push('', ...help.notes);
  return `${lines.join('\n')}\n`;
}

/** The whole number that a flag holds. @throws CoterieError REQUEST_INVALID naming the flag and the range */
export function wholeFlag(flags: ParsedFlags, name: string, least: number, most: number): number | undefined {
  const text = flags.values[name];
  if (text === undefined) return undefined;
  const value = typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) {
    throw new CoterieError('REQUEST_INVALID', `--${name} must be a whole number from ${least} to ${most}, not ${JSON.stringify(text)}`);
  }
  return value;
}

export function textFlag(flags: ParsedFlags, name: string): string | undefined {
  const value = flags.values[name];
  return typeof value === 'string' ? value : undefined;
}
