/** `coterie repair`: has every node compare its partitions with the other replicas, and shows how far they are. */

import { setTimeout } from 'node:timers/promises';

import type { ClusterDocument, RepairDocument } from '../api/admin/documents.ts';
import { CoterieError } from '../base/errors.ts';
import { asText, call, callAt, ENDPOINT_FLAG, JSON_FLAG } from './endpoint.ts';
import { type CommandHelp, helpText, parseFlags, type ParsedFlags, textFlag, wholeFlag } from './flags.ts';
import { type Command, EXIT, type Surroundings } from './surroundings.ts';
import { table } from './table.ts';

const REPAIR: CommandHelp = {
  usage: 'repair [flags]',
  about: 'Compares the replicas of every partition, brings together what differs, and shows the progress until it is done.',
  flags: [
    { name: 'partition', value: 'P|P-Q', about: 'Only this partition, or these' },
    { name: 'scrub', about: 'Each node rereads all of its disk as well' },
    { name: 'timeout', value: 'S', about: 'Seconds to wait, 0 to 86400; 0: only begin (default: 3600)' },
    JSON_FLAG,
    ENDPOINT_FLAG,
  ],
  notes: ['Exit code 1 when a member cannot be asked, 4 when the time is over first; what was begun goes on.'],
};

const EVERY_MS = 500;
const MOST_SECONDS = 86_400;
const DEFAULT_SECONDS = 3600;

interface Asked {
  readonly name: string;
  readonly endpoint: string;
  /** Its counts before the request. */
  readonly before: RepairDocument;
  latest: RepairDocument;
}

/** @param scrub whether the node was asked to reread its disk */
function left(one: Asked, scrub: boolean): number {
  const { requested, lostRanges, scrub: pass } = one.latest;
  const reading = scrub && since(one, 'scrubs') === 0 ? Math.max(1, pass.total - pass.done) : 0;
  return (requested?.left ?? 0) + lostRanges + reading;
}

function query(flags: ParsedFlags): string {
  const parameters = new URLSearchParams();
  const partition = textFlag(flags, 'partition');
  if (partition !== undefined) parameters.set('partitions', partition);
  if (flags.values['scrub'] === true) parameters.set('scrub', 'true');
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}

function documentOf(body: Uint8Array): RepairDocument {
  return JSON.parse(asText(body)) as RepairDocument;
}

async function begin(flags: ParsedFlags, surroundings: Surroundings): Promise<{ asked: Asked[]; missing: string[] }> {
  const answer = await call(flags, surroundings, { method: 'GET', path: '/v1/cluster' }, [200]);
  const cluster = JSON.parse(asText(answer.body)) as ClusterDocument;
  const asked: Asked[] = [];
  const missing: string[] = [];
  for (const { name, endpoints } of cluster.members) {
    const endpoint = `http://${endpoints.http}`;
    try {
      const before = documentOf((await callAt(endpoint, surroundings, { method: 'GET', path: '/v1/admin/repair' }, [200])).body);
      const request = { method: 'POST', path: `/v1/admin/repair${query(flags)}` };
      asked.push({ name, endpoint, before, latest: documentOf((await callAt(endpoint, surroundings, request, [202])).body) });
    } catch (error) {
      if (!(error instanceof CoterieError) || error.code !== 'PEER_UNREACHABLE') throw error;
      missing.push(name);
    }
  }
  return { asked, missing };
}

function since(one: Asked, count: string): number {
  return (one.latest.counts[count] ?? 0) - (one.before.counts[count] ?? 0);
}

function summary(asked: readonly Asked[], scrub: boolean): string {
  const rows = asked.map((one) => [
    one.name,
    String(one.latest.requested?.total ?? 0),
    String(left(one, scrub)),
    String(since(one, 'partitionsRepaired')),
    String(since(one, 'objectsFetched')),
    String(since(one, 'objectsSent')),
    String(since(one, 'objectsRefilled')),
  ]);
  return table(['node', 'comparisons', 'left', 'differed', 'fetched', 'sent', 'refilled'], rows);
}

async function run(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const flags = parseFlags(REPAIR, args, { least: 0, most: 0 });
  if (flags.values['help'] === true) {
    surroundings.out(helpText(REPAIR));
    return EXIT.ok;
  }
  const json = flags.values['json'] === true;
  const scrub = flags.values['scrub'] === true;
  const seconds = wholeFlag(flags, 'timeout', 0, MOST_SECONDS) ?? DEFAULT_SECONDS;
  const { asked, missing } = await begin(flags, surroundings);
  for (const name of missing) surroundings.err(`coterie repair: ${name} cannot be asked\n`);
  let shown = -1;
  for (let waitedMs = 0; waitedMs < seconds * 1000; waitedMs += EVERY_MS) {
    const total = asked.reduce((sum, one) => sum + left(one, scrub), 0);
    if (!json && total !== shown) surroundings.out(`${String(total)} left\n`);
    shown = total;
    if (total === 0) break;
    await setTimeout(EVERY_MS);
    for (const one of asked) {
      one.latest = documentOf((await callAt(one.endpoint, surroundings, { method: 'GET', path: '/v1/admin/repair' }, [200])).body);
    }
  }
  if (json) surroundings.out(`${JSON.stringify({ missing, nodes: asked.map(({ latest }) => latest) })}\n`);
  else surroundings.out(`\n${summary(asked, scrub)}`);
  if (missing.length > 0) return EXIT.failed;
  return seconds === 0 || asked.every((one) => left(one, scrub) === 0) ? EXIT.ok : EXIT.unavailable;
}

export const repairCommand: Command = { name: 'repair', about: 'Compare the replicas and bring them together', run };
