/** The command line: finds the command, and turns failures into one line and an exit code. */

import { asCoterieError, type CoterieError } from '../base/errors.ts';
import { delCommand, getCommand, putCommand } from './data.ts';
import { devCommand } from './dev/dev.ts';
import { nodeCommand } from './node.ts';
import { repairCommand } from './repair.ts';
import { ringCommand } from './ring.ts';
import { statusCommand } from './status.ts';
import { type Command, EXIT, type Surroundings } from './surroundings.ts';

const COMMANDS: readonly Command[] = [
  nodeCommand,
  devCommand,
  getCommand,
  putCommand,
  delCommand,
  statusCommand,
  repairCommand,
  ringCommand,
];

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    'Coterie: a Dynamo-style key-value store.',
    '',
    'Usage: coterie COMMAND [flags]',
    '',
    ...COMMANDS.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`),
    '',
    'coterie COMMAND --help tells more; coterie --version tells which one this is.',
    'Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused or timed out (trying again may help).',
    '',
  ].join('\n');
}

function exitCodeOf(error: CoterieError): number {
  switch (error.code) {
    case 'NOT_FOUND':
      return EXIT.notFound;
    case 'TIMEOUT':
    case 'NO_QUORUM':
    case 'BUSY':
    case 'NOT_SYNCHRONISED':
    case 'PEER_UNREACHABLE':
    case 'DISK_FULL':
      return EXIT.unavailable;
    case 'REQUEST_INVALID':
    case 'SETTING_INVALID':
    case 'SETTING_UNKNOWN':
      return EXIT.usage;
    default:
      return EXIT.failed;
  }
}

/** Runs one command; answers the exit code. Never throws, never prints a stack trace. */
export async function runCommandLine(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === 'help') {
    surroundings.out(overview());
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  if (name === '--version') {
    surroundings.out(`${surroundings.version}\n`);
    return EXIT.ok;
  }
  const command = COMMANDS.find((candidate) => candidate.name === name);
  if (command === undefined) {
    surroundings.err(`coterie: there is no command ${JSON.stringify(name)}; there are ${COMMANDS.map((known) => known.name).join(', ')}\n`);
    return EXIT.usage;
  }
  try {
    return await command.run(rest, surroundings);
  } catch (error) {
    const coded = asCoterieError(error);
    if (rest.includes('--json')) {
      surroundings.out(`${JSON.stringify({ error: { code: coded.code, message: coded.message, outcome: coded.outcome } })}\n`);
    }
    // An unexpected failure is a bug: its text, without the frames, helps to report it.
    const reason = coded.code === 'INTERNAL' && coded.cause !== undefined ? `internal error: ${messageOf(coded.cause)}` : coded.message;
    surroundings.err(`coterie ${name}: ${reason}${coded.outcome === 'unknown' ? ' (the write may have happened)' : ''} [${coded.code}]\n`);
    return exitCodeOf(coded);
  }
}

function messageOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
}
