/**
 * Records the transcripts in `golden/` from redis-server: `node node/test/conformance/record.ts`.
 *
 * It sends the requests that the files hold and rewrites their replies. Recorded with Debian's redis-server 7.0.15.
 */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { CLOSED, RawClient } from './raw-client.ts';
import { hasProgram, INSTALL_REDIS, startRedis } from './redis-server.ts';
import { formatTranscript, parseTranscript, type Case } from './transcript.ts';

const GOLDEN = fileURLToPath(new URL('golden/', import.meta.url));

function withoutNumbers(reply: string): string {
  return reply.replaceAll(/[0-9a-f]{40}|[0-9]+(?:\.[0-9]+)?[KMG]?/g, '0');
}

async function record(port: number, { steps }: Case): Promise<void> {
  const client = await RawClient.connect(port);
  for (const step of steps) {
    // A reply for each that is written there; a new step (none written yet) has one.
    const count = Math.max(1, step.replies.length);
    const replies: string[] = [];
    client.send(step.bytes);
    while (replies.length < count && replies.at(-1) !== CLOSED) replies.push(await client.reply());
    // Ids, ports and times differ from one recording to the next; what is the same but for those stays as it is.
    if (replies.map(withoutNumbers).join() !== step.replies.map(withoutNumbers).join()) step.replies = replies;
  }
  client.close();
}

if (!hasProgram('redis-server')) {
  process.stderr.write(`redis-server is missing: ${INSTALL_REDIS}\n`);
  process.exit(1);
}
for (const file of readdirSync(GOLDEN).filter((name) => name.endsWith('.txt'))) {
  const transcript = parseTranscript(readFileSync(GOLDEN + file, 'utf8'));
  for (const each of transcript.cases) {
    const redis = await startRedis(each.password);
    try {
      await record(redis.port, each);
    } finally {
      await redis.stop();
    }
  }
  writeFileSync(GOLDEN + file, formatTranscript(transcript));
  process.stdout.write(`${file}: ${transcript.cases.length} cases\n`);
}
