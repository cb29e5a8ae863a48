/** The HTTP client of the commands: finds a node, calls it, turns its problems into coded errors. */

import { readFile } from 'node:fs/promises';

import { CoterieError, type ErrorCode, type Outcome } from '../base/errors.ts';
import type { Flag, ParsedFlags } from './flags.ts';
import { textFlag } from './flags.ts';
import type { Surroundings } from './surroundings.ts';

export const ENDPOINT_FLAG: Flag = {
  name: 'endpoint',
  value: 'URL',
  about: 'HTTP address of any node (default: $COTERIE_ENDPOINT, else the cluster of ./.coterie, else http://127.0.0.1:8400)',
};
export const JSON_FLAG: Flag = { name: 'json', about: 'Answer as JSON' };

const DEV_TOPOLOGY = '.coterie/topology.json';

interface Request {
  readonly method: string;
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

async function devEndpoints(): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(DEV_TOPOLOGY, 'utf8');
  } catch {
    // No cluster was started here; the default endpoint is tried instead.
    return [];
  }
  const { members } = JSON.parse(text) as { members: { address: { host: string; httpPort: number } }[] };
  return members.map(({ address }) => `http://${address.host}:${address.httpPort}`);
}

async function endpoints(flags: ParsedFlags, surroundings: Surroundings): Promise<string[]> {
  const named = textFlag(flags, 'endpoint') ?? surroundings.variables['COTERIE_ENDPOINT'];
  if (named !== undefined) {
    const url = named.includes('://') ? named : `http://${named}`;
    if (!URL.canParse(url)) {
      throw new CoterieError('REQUEST_INVALID', `--endpoint must be a URL such as http://127.0.0.1:8401, not ${JSON.stringify(named)}`);
    }
    return [url.replace(/\/$/, '')];
  }
  const dev = await devEndpoints();
  return dev.length > 0 ? dev : ['http://127.0.0.1:8400'];
}

/**
 * Calls the first node that can be reached.
 *
 * @throws CoterieError PEER_UNREACHABLE when none answers; the node's own code on a problem answer, unless `accept` names its status
 */
export async function call(flags: ParsedFlags, surroundings: Surroundings, request: Request, accept: readonly number[]): Promise<Answer> {
  const tried: string[] = [];
  for (const endpoint of await endpoints(flags, surroundings)) {
    const answer = await ask(endpoint, surroundings, request, accept);
    if (answer !== undefined) return answer;
    tried.push(endpoint);
  }
  throw new CoterieError(
    'PEER_UNREACHABLE',
    `no node answers at ${tried.join(', ')}; start one with 'make run' or name one with --endpoint`,
  );
}

/** Calls this very node. @throws CoterieError as `call` does */
export async function callAt(endpoint: string, surroundings: Surroundings, request: Request, accept: readonly number[]): Promise<Answer> {
  const answer = await ask(endpoint, surroundings, request, accept);
  if (answer === undefined) throw new CoterieError('PEER_UNREACHABLE', `no node answers at ${endpoint}`);
  return answer;
}

/** Undefined where nobody answers. */
async function ask(endpoint: string, surroundings: Surroundings, request: Request, accept: readonly number[]): Promise<Answer | undefined> {
  const headers: Record<string, string> = { ...request.headers };
  const password = surroundings.variables['COTERIE_PASSWORD'];
  if (password !== undefined) headers['authorization'] = `Bearer ${password}`;
  let response: Response;
  try {
    response = await fetch(endpoint + request.path, {
      method: request.method,
      headers,
      ...(request.body === undefined ? {} : { body: new Uint8Array(request.body) }),
    });
  } catch {
    return undefined;
  }
  const body = new Uint8Array(await response.arrayBuffer());
  if (accept.includes(response.status)) return { status: response.status, headers: response.headers, body };
  throw problem(response.status, body);
}

function problem(status: number, body: Uint8Array): CoterieError {
  try {
    const { code, detail, outcome } = JSON.parse(Buffer.from(body).toString('utf8')) as {
      code: ErrorCode;
      detail: string;
      outcome?: Outcome;
    };
    return new CoterieError(code, detail, outcome === undefined ? {} : { outcome });
  } catch {
    return new CoterieError('INTERNAL', `the node answered HTTP ${status}; is this a Coterie node?`);
  }
}

/** The path of a key, its bytes percent-encoded. */
export function keyPath(bucket: string, key: string): string {
  return `/v1/kv/${encodeURIComponent(bucket)}/${encodeURIComponent(key)}`;
}

export function asText(body: Uint8Array): string {
  return Buffer.from(body).toString('utf8');
}
