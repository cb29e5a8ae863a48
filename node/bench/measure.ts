/**
 * Measuring in pairs: ours and a peer take turns within one run, and only the ratio of their medians is a claim. Absolute figures depend on the
 * machine and its load, and are printed for orientation.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** One line of a result. `case` says what is measured, with its settings (N, R, W, fsync, value size, clients). */
export interface Row {
  readonly case: string;
  readonly ours: number;
  /** `null` where there is nothing to compare with. */
  readonly peer: number | null;
  readonly peerName: string | null;
  /** Ours over the peer's. */
  readonly ratio: number | null;
  readonly unit: string;
  readonly samples: { readonly ours: readonly number[]; readonly peer: readonly number[] };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** A row from the samples of both sides. */
export function row(
  name: string,
  unit: string,
  ours: readonly number[],
  peerName: string | null = null,
  peer: readonly number[] = [],
): Row {
  const our = median(ours);
  const their = peer.length === 0 ? null : median(peer);
  return { case: name, ours: our, peer: their, peerName, ratio: their === null ? null : our / their, unit, samples: { ours, peer } };
}

/** Runs every contestant once a round, in turn; answers each one's results in the order of the rounds. */
export async function inTurn<Name extends string, Result>(
  what: string,
  rounds: number,
  contestants: Readonly<Record<Name, () => Promise<Result>>>,
): Promise<Record<Name, Result[]>> {
  const names = Object.keys(contestants) as Name[];
  const results = Object.fromEntries(names.map((name) => [name, [] as Result[]])) as Record<Name, Result[]>;
  for (let round = 1; round <= rounds; round += 1) {
    for (const name of names) {
      process.stderr.write(`  ${what}: round ${round} of ${rounds}: ${name}\n`);
      results[name].push(await contestants[name]());
    }
  }
  return results;
}

function figure(value: number | null): string {
  if (value === null) return '';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 3);
}

function shown(rows: readonly Row[]): string {
  const cells = rows.map((line) => [
    line.case,
    figure(line.ours),
    figure(line.peer),
    line.peerName ?? '',
    line.ratio === null ? '' : `${line.ratio.toFixed(2)}x`,
    line.unit,
  ]);
  const head = ['case', 'ours', 'peer', 'peer is', 'ratio', 'unit'];
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((line) => (line[column] ?? '').length)));
  const format = (line: readonly string[]): string =>
    line
      .map((cell, column) => (column === 0 || column > 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ');
  return [head, ...cells].map((line) => format(line).trimEnd()).join('\n');
}

/** Prints the table and writes `node/bench/out/NAME.json`. */
export function report(name: string, rows: readonly Row[]): void {
  const directory = fileURLToPath(new URL('out/', import.meta.url));
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `${name}.json`);
  writeFileSync(path, `${JSON.stringify(rows, null, 2)}\n`);
  process.stdout.write(`${shown(rows)}\n\nwritten: node/bench/out/${name}.json\n`);
}
