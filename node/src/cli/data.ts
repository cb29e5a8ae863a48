/** `coterie get | put | del`: one key through any node. */

import { CoterieError } from '../base/errors.ts';
import { type Answer, asText, call, ENDPOINT_FLAG, JSON_FLAG, keyPath } from './endpoint.ts';
import { type CommandHelp, type Flag, helpText, parseFlags, type ParsedFlags, textFlag, wholeFlag } from './flags.ts';
import { type Command, EXIT, type Surroundings } from './surroundings.ts';

const BUCKET: Flag = { name: 'bucket', value: 'NAME', about: 'Bucket (default: default)' };
const TIMEOUT: Flag = { name: 'timeout', value: 'MS', about: 'Deadline in milliseconds, 1 to 60000' };
const CONTEXT: Flag = { name: 'context', value: 'CONTEXT', about: 'Context of an earlier answer: replaces just what that showed' };
const WRITE_QUORUM: Flag = { name: 'w', value: 'W', about: 'Durable acknowledgements to wait for, 1 to N' };
const MOST_N = 255;

const GET: CommandHelp = {
  usage: 'get KEY [flags]',
  about: 'Prints the value of a key. Exit code 3 where there is none; siblings are printed as JSON.',
  flags: [BUCKET, { name: 'r', value: 'R', about: 'Answers to wait for, 1 to N' }, TIMEOUT, JSON_FLAG, ENDPOINT_FLAG],
};
const PUT: CommandHelp = {
  usage: 'put KEY VALUE [flags]',
  about: 'Stores a value; VALUE of - reads it from standard input.',
  flags: [
    BUCKET,
    { name: 'ttl', value: 'MS', about: 'Expires after so many milliseconds' },
    WRITE_QUORUM,
    CONTEXT,
    TIMEOUT,
    JSON_FLAG,
    ENDPOINT_FLAG,
  ],
};
const DEL: CommandHelp = {
  usage: 'del KEY [flags]',
  about: 'Deletes a key.',
  flags: [BUCKET, WRITE_QUORUM, CONTEXT, TIMEOUT, JSON_FLAG, ENDPOINT_FLAG],
};

function query(flags: ParsedFlags): string {
  const parameters = new URLSearchParams();
  const add = (name: string, value: number | undefined): void => {
    if (value !== undefined) parameters.set(name, String(value));
  };
  add('r', wholeFlag(flags, 'r', 1, MOST_N));
  add('w', wholeFlag(flags, 'w', 1, MOST_N));
  add('timeoutMs', wholeFlag(flags, 'timeout', 1, 60_000));
  add('ttlMs', wholeFlag(flags, 'ttl', 1, Number.MAX_SAFE_INTEGER));
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}

function pathOf(flags: ParsedFlags): string {
  return keyPath(textFlag(flags, 'bucket') ?? 'default', flags.positionals[0] ?? '') + query(flags);
}

function contextHeader(flags: ParsedFlags): Record<string, string> {
  const context = textFlag(flags, 'context');
  return context === undefined ? {} : { 'coterie-context': context };
}

function tell(surroundings: Surroundings, value: unknown): void {
  surroundings.out(`${JSON.stringify(value)}\n`);
}

async function get(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const flags = parseFlags(GET, args, { least: 1, most: 1 });
  if (flags.values['help'] === true) return shown(GET, surroundings);
  const json = flags.values['json'] === true;
  const request = { method: 'GET', path: pathOf(flags), headers: { accept: 'application/json, application/octet-stream' } };
  const answer = await call(flags, surroundings, request, [200, 300, 404]);
  const context = answer.headers.get('coterie-context') ?? undefined;
  if (answer.status === 404) return missing(answer, json, context, surroundings);
  if (answer.status === 300) {
    surroundings.out(`${asText(answer.body)}\n`);
    return EXIT.ok;
  }
  if (json) tell(surroundings, { value: asText(answer.body), valueBase64: Buffer.from(answer.body).toString('base64'), context });
  else {
    surroundings.out(answer.body.length > 0 && answer.body.at(-1) !== 10 ? Buffer.concat([answer.body, Buffer.from('\n')]) : answer.body);
  }
  return EXIT.ok;
}

function missing(answer: Answer, json: boolean, context: string | undefined, surroundings: Surroundings): number {
  const { code } = JSON.parse(asText(answer.body)) as { code?: string };
  // 404 also answers for a bucket that does not exist; that is an error of the call.
  if (code !== undefined && code !== 'NOT_FOUND') throw new CoterieError('BUCKET_UNKNOWN', 'there is no such bucket');
  if (json) tell(surroundings, { value: null, context });
  else surroundings.err('not found\n');
  return EXIT.notFound;
}

async function put(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const flags = parseFlags(PUT, args, { least: 2, most: 2 });
  if (flags.values['help'] === true) return shown(PUT, surroundings);
  const value = flags.positionals[1] ?? '';
  const body = value === '-' ? await surroundings.input() : Buffer.from(value, 'utf8');
  return write(flags, surroundings, { method: 'PUT', body });
}

async function del(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const flags = parseFlags(DEL, args, { least: 1, most: 1 });
  if (flags.values['help'] === true) return shown(DEL, surroundings);
  return write(flags, surroundings, { method: 'DELETE' });
}

async function write(
  flags: ParsedFlags,
  surroundings: Surroundings,
  request: { readonly method: string; readonly body?: Uint8Array },
): Promise<number> {
  const answer = await call(flags, surroundings, { ...request, path: pathOf(flags), headers: contextHeader(flags) }, [200, 201, 204, 300]);
  if (flags.values['json'] === true) tell(surroundings, { ok: true, context: answer.headers.get('coterie-context') ?? undefined });
  return EXIT.ok;
}

function shown(help: CommandHelp, surroundings: Surroundings): number {
  surroundings.out(helpText(help));
  return EXIT.ok;
}

export const getCommand: Command = { name: 'get', about: 'Print the value of a key', run: get };
export const putCommand: Command = { name: 'put', about: 'Store a value', run: put };
export const delCommand: Command = { name: 'del', about: 'Delete a key', run: del };
