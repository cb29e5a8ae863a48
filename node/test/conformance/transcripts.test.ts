import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { DevCluster } from '../cluster/dev-cluster.ts';
import { RespDrive } from '../resp/drive.ts';
import { type Difference, DIFFERENCES } from './differences.ts';
import { CLOSED, RawClient } from './raw-client.ts';
import { replyEnd } from './reply-reader.ts';
import { type Case, parseTranscript, type Step } from './transcript.ts';

const GOLDEN = fileURLToPath(new URL('golden/', import.meta.url));
const API_DOC = fileURLToPath(new URL('../../../docs/API.md', import.meta.url));

const FILES = readdirSync(GOLDEN).map((file) => ({ file, cases: parseTranscript(readFileSync(GOLDEN + file, 'utf8')).cases }));
const STEPS = FILES.flatMap(({ cases }) => cases.flatMap((each) => each.steps.map((step) => ({ name: each.name, step }))));

function excuses(name: string, step: Step): Difference['steps'] {
  return DIFFERENCES.flatMap(({ steps }) => steps.filter(({ line, cases }) => line.test(step.line) && (cases?.test(name) ?? true)));
}

/** Compares a step's replies with Redis' ones, or with what the list of differences says. */
function compare(name: string, step: Step, ours: readonly string[]): void {
  const theirs = step.replies.join('');
  const mine = ours.join('');
  const excuse = excuses(name, step);
  const matching = excuse.filter((each) => each.ours.test(mine));
  // Errors that Redis words the same stay as Redis has them, also where the step's line has an excuse (HELLO 4, say).
  if (mine === theirs) return;
  expect({ case: name, step: step.line, ours: mine, excused: matching.length > 0 }).toEqual({
    case: name,
    step: step.line,
    ours: excuse.length > 0 ? mine : theirs,
    excused: excuse.length > 0,
  });
}

async function driveCase({ name, password, steps }: Case): Promise<void> {
  const credentials = password === undefined ? [] : [{ name: 'default', secret: Buffer.from(password), admin: true }];
  const drive = new RespDrive({ credentials });
  drive.node.now = Date.now();
  const client = drive.connect();
  for (const step of steps) {
    client.give(step.bytes);
    await drive.settle();
    const bytes = Buffer.from(client.take(), 'latin1');
    const replies: string[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = replyEnd(bytes, at);
      if (end === undefined) throw new Error(`an incomplete reply: ${bytes.toString('latin1', at)}`);
      replies.push(bytes.toString('latin1', at, end));
      at = end;
    }
    if (client.ended) replies.push(CLOSED);
    compare(name, step, replies);
  }
}

describe('redis-server said the same', () => {
  describe.each(FILES)('$file', ({ cases }) => {
    test.each(cases)('$name', driveCase);
  });
});

describe('through a running cluster', () => {
  let cluster: DevCluster;
  let port = 0;
  beforeAll(async () => {
    cluster = await DevCluster.start({ nodes: 3, zones: 3 });
    port = cluster.member(0).address.respPort;
  }, 60_000);
  afterAll(async () => {
    await cluster.stop();
  });

  async function empty(): Promise<void> {
    const client = await RawClient.connect(port);
    client.send(Buffer.from('SCAN 0 COUNT 10000\r\n'));
    const keys = (await client.reply())
      .split('\r\n')
      .slice(5)
      .filter((_, index) => index % 2 === 0);
    for (const key of keys.filter((each) => each !== '')) {
      client.send(Buffer.from(`DEL ${key}\r\n`));
      await client.reply();
    }
    client.close();
  }

  // A dev cluster has no password; those cases are the sessions' alone and were held above.
  const open = FILES.flatMap(({ file, cases }) => cases.filter(({ password }) => password === undefined).map((each) => ({ file, each })));
  test.each(open)('$file: $each.name', async ({ each }) => {
    await empty();
    const client = await RawClient.connect(port);
    for (const step of each.steps) {
      client.send(step.bytes);
      const expected = Math.max(1, step.replies.length);
      const replies: string[] = [];
      while (replies.length < expected && replies.at(-1) !== CLOSED) replies.push(await client.reply());
      if (replies.at(-1)?.startsWith('-ERR this is the Redis protocol') === true) replies.push(await client.reply());
      compare(each.name, step, replies);
    }
    client.close();
  });
});

describe('the list of differences', () => {
  test('each is shown by a transcript', () => {
    for (const { sentence, steps } of DIFFERENCES) {
      for (const { line, cases } of steps) {
        const shown = STEPS.some(({ name, step }) => line.test(step.line) && (cases?.test(name) ?? true));
        expect({ sentence, line: String(line), shown }).toEqual({ sentence, line: String(line), shown: true });
      }
    }
  });

  test('docs/API.md says the same', () => {
    const [, section = ''] = readFileSync(API_DOC, 'utf8').split('## Differences from Redis');
    const [bullets = ''] = section.split('\n## ');
    const listed = bullets
      .split('\n')
      .filter((line) => line.startsWith('- '))
      .map((line) => line.slice(2));
    expect(listed).toEqual(DIFFERENCES.map(({ sentence }) => sentence));
  });
});
