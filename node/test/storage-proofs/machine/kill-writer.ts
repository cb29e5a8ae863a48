/**
 * The process that proof (c) kills: opens a real directory with the real disk and workers, checks that it holds a prefix of the history no
 * shorter than what was acknowledged, and writes on until it is killed. It says on its standard output, a line each: `opened N`, `bad WHY`,
 * `acknowledged N`. `--eager` acknowledges before the engine does, for the test of the proof.
 *
 *   node test/storage-proofs/machine/kill-writer.ts --directory D --seed 1 --acknowledged 0
 */

import { writeSync } from 'node:fs';
import { toByteString } from '../../../src/base/bytes.ts';
import { NodeClock } from '../../../src/env-node/clock.ts';
import { NodeExecutor } from '../../../src/env-node/executor.ts';
import { NodeVfs } from '../../../src/env-node/vfs.ts';
import { Engine } from '../../../src/storage/engine.ts';
import { MARK, difference, keyOf, writeBatchOf } from '../../../sim/storage/history.ts';
import { KILL_KEYS, killBatch, killContent } from './kill-batches.ts';
import { messageOf, proofArguments } from '../../../sim/storage/proof-program.ts';
import { contentByKey, contentOf } from '../../../sim/storage/whole-store.ts';

const IN_FLIGHT = 16;

const options = proofArguments({ seed: 1, count: 0 }, ['directory', 'acknowledged'], ['eager']);
const directory = options.option('directory') ?? '';
const acknowledged = options.numberOption('acknowledged', 0);
const eager = options.given('eager');

/** Waits while the pipe is full: whoever reads it may be busy. */
function say(line: string): void {
  let rest = Buffer.from(`${line}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}

async function openAndCheck(): Promise<{ engine: Engine; number: number }> {
  const engine = await Engine.open({
    directory,
    vfs: new NodeVfs(),
    executor: new NodeExecutor(),
    clock: new NodeClock(),
    fsync: { kind: 'always' },
    memtableBytes: 65_536,
    tableBytes: 65_536,
    levelBaseBytes: 131_072,
    levelRatio: 4,
    level0Compact: 2,
    blockBytes: 1024,
    cacheBytes: 262_144,
    openFiles: 16,
    reserveBytes: 0,
  });
  const content = await contentOf(engine);
  const mark = content.get(MARK);
  const number = mark === undefined ? 0 : Number(toByteString(mark));
  if (!(number >= acknowledged)) throw new Error(`holds batch ${String(number)}, ${String(acknowledged)} was acknowledged`);
  const apart = difference(killContent(options.seed, number), content);
  if (apart !== undefined) throw new Error(`is no prefix at batch ${String(number)}: ${apart}`);
  const keys = [MARK, ...Array.from({ length: KILL_KEYS }, (_, index) => keyOf(index))];
  const other = difference(content, await contentByKey(engine, keys));
  if (other !== undefined) throw new Error(`get and iterate disagree: ${other}`);
  return { engine, number };
}

try {
  const { engine, number } = await openAndCheck();
  say(`opened ${String(number)}`);
  let next = number + 1;
  const writeNext = (): void => {
    const batch = killBatch(options.seed, next);
    next += 1;
    engine.write(writeBatchOf(batch), (error) => {
      if (error?.code === 'BUSY' && error.outcome === 'none') {
        // Flushes lag behind. It is refused within the call, before any effect: the same batch is the next one again.
        next = batch.number;
        setImmediate(writeNext);
        return;
      }
      if (error !== undefined) {
        say(`bad write: ${messageOf(error)}`);
        return;
      }
      if (!eager) say(`acknowledged ${String(batch.number)}`);
      setImmediate(writeNext);
    });
    if (eager) say(`acknowledged ${String(batch.number)}`);
  };
  for (let left = IN_FLIGHT; left > 0; left -= 1) writeNext();
  // The engine's own timers keep no process alive; the kill ends this one.
  setInterval(() => undefined, 1000);
} catch (error) {
  say(`bad ${messageOf(error).replaceAll('\n', ' ')}`);
}
