/** `coterie status`: the members, as one node sees them. */

import type { ClusterDocument, MemberDocument } from '../api/admin/documents.ts';
import { asText, call, ENDPOINT_FLAG, JSON_FLAG } from './endpoint.ts';
import { type CommandHelp, helpText, parseFlags } from './flags.ts';
import { type Command, EXIT, type Surroundings } from './surroundings.ts';
import { table } from './table.ts';

const STATUS: CommandHelp = {
  usage: 'status [flags]',
  about:
    'Shows the cluster as the answering node sees it, and which writes wait for whom. Exit code 1 when a member cannot be reached or is down.',
  flags: [JSON_FLAG, ENDPOINT_FLAG],
};

/** Who keeps writes for whom; nothing where nobody does. */
function waiting({ members }: ClusterDocument): string {
  const rows = members.flatMap(({ name, waiting: kept }) =>
    kept.map(({ holder, hints, bytes, debt }) => [name, holder, String(hints), String(bytes), String(debt)]),
  );
  return rows.length === 0 ? '' : `\n${table(['waits', 'kept by', 'hints', 'bytes', 'debt'], rows)}`;
}

async function run(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const flags = parseFlags(STATUS, args, { least: 0, most: 0 });
  if (flags.values['help'] === true) {
    surroundings.out(helpText(STATUS));
    return EXIT.ok;
  }
  const answer = await call(flags, surroundings, { method: 'GET', path: '/v1/cluster' }, [200]);
  const text = asText(answer.body);
  const cluster = JSON.parse(text) as ClusterDocument;
  const missing = cluster.members.filter(({ reachable, state }) => !reachable || state === 'down').length;
  if (flags.values['json'] === true) surroundings.out(`${text}\n`);
  else {
    surroundings.out(
      `cluster ${cluster.clusterId}  epoch ${cluster.epoch}  N=${cluster.n}  Q=${cluster.q}  as ${cluster.self} sees it\n\n`,
    );
    const rows = cluster.members.map((member) => [
      member.name,
      member.state,
      heardOf(member),
      member.zone,
      member.rack,
      String(member.weight),
      String(member.partitions),
      String(member.hints),
      String(member.debt),
      String(member.repairOwed),
      member.lastRepairMs === null ? '-' : new Date(member.lastRepairMs).toISOString().slice(0, 19).concat('Z'),
      member.address,
    ]);
    surroundings.out(
      table(['node', 'state', 'heard', 'zone', 'rack', 'weight', 'partitions', 'hints', 'debt', 'to repair', 'repaired', 'address'], rows),
    );
    surroundings.out(waiting(cluster));
    const { repair } = cluster;
    if (repair !== null && repair.lostRanges > 0) {
      surroundings.out(`\n${repair.lostRanges} ranges of ${cluster.self}'s store are lost to damage, and are being filled again\n`);
    }
    surroundings.out(
      `\n${table(
        ['bucket', 'consistency', 'R', 'W'],
        cluster.buckets.map((bucket) => [bucket.name, bucket.consistency, String(bucket.r), String(bucket.w)]),
      )}`,
    );
    surroundings.out(collectionText(cluster.collection));
  }
  return missing === 0 ? EXIT.ok : EXIT.failed;
}

/** When the member was last heard of; of one that is down, by whose word it is. */
function heardOf({ state, heartbeatAgeMs, observers }: MemberDocument): string {
  if (state === 'self') return '';
  const ago = heartbeatAgeMs < 60_000 ? `${(heartbeatAgeMs / 1000).toFixed(1)} s ago` : `${Math.floor(heartbeatAgeMs / 60_000)} min ago`;
  return observers.length === 0 ? ago : `${ago}, silent to ${observers.join(' and ')}`;
}

/** What is deleted or expired and waits to be collected, and who is in the way. */
function collectionText({ partitions, leastGeneration, mostGeneration, youngDead, blocked }: ClusterDocument['collection']): string {
  if (partitions === 0) return '';
  const generations = leastGeneration === mostGeneration ? `${mostGeneration}` : `${leastGeneration} to ${mostGeneration}`;
  const head = `\ncollecting ${partitions} partitions, generation ${generations}; deletes and expiries since the last round: ${youngDead}\n`;
  const rows = blocked.map(({ member, why, partitions: count }) => [member, why, String(count)]);
  return rows.length === 0 ? head : `${head}\n${table(['blocked by', 'because', 'partitions'], rows)}`;
}

export const statusCommand: Command = { name: 'status', about: 'Show the members of the cluster', run };
