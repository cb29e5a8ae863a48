/** A whole cluster of processes for tests: `coterie dev` on free ports in a temporary directory, steered through its standard input. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const COTERIE: string = fileURLToPath(new URL('../../bin/coterie.js', import.meta.url));

export interface DevMember {
  readonly name: string;
  readonly zone: string;
  readonly address: { readonly host: string; readonly respPort: number; readonly httpPort: number; readonly peerPort: number };
}

export interface DevTopology {
  readonly N: number;
  readonly members: readonly DevMember[];
  readonly partitions: readonly (readonly number[])[];
}

export interface DevOptions {
  readonly nodes: number;
  readonly zones: number;
  readonly flags?: readonly string[];
  /** An existing directory to start again in; it is kept on stop. */
  readonly directory?: string;
}

export class DevCluster {
  readonly directory: string;
  readonly topology: DevTopology;
  readonly #child: ChildProcess;
  readonly #lines: string[];
  readonly #keep: boolean;
  readonly #waiting: Set<() => void>;
  readonly #ended: Promise<number>;

  private constructor(
    directory: string,
    topology: DevTopology,
    child: ChildProcess,
    lines: string[],
    waiting: Set<() => void>,
    ended: Promise<number>,
    keep: boolean,
  ) {
    this.directory = directory;
    this.topology = topology;
    this.#child = child;
    this.#lines = lines;
    this.#waiting = waiting;
    this.#ended = ended;
    this.#keep = keep;
  }

  /** Starts a cluster and waits until every node is ready. */
  static async start(options: DevOptions): Promise<DevCluster> {
    const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'coterie-dev-')));
    const shape = ['--nodes', String(options.nodes), '--zones', String(options.zones), '--ports', 'free', '--data', directory];
    const child = spawn(process.execPath, [COTERIE, 'dev', ...shape, ...(options.flags ?? [])], { stdio: ['pipe', 'pipe', 'pipe'] });
    const lines: string[] = [];
    const waiting = new Set<() => void>();
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line);
        for (const check of waiting) check();
      });
    }
    const ended = new Promise<number>((resolve) => {
      child.once('close', (code) => {
        resolve(code ?? -1);
        for (const check of waiting) check();
      });
    });
    const welcomed = until(lines, waiting, ended, (line) => line.startsWith('Every node answers'), 0);
    await welcomed.catch(async (error: unknown) => {
      child.kill('SIGINT');
      await ended;
      if (options.directory === undefined) await rm(directory, { recursive: true, force: true });
      throw error;
    });
    const topology = JSON.parse(await readFile(join(directory, 'topology.json'), 'utf8')) as DevTopology;
    return new DevCluster(directory, topology, child, lines, waiting, ended, options.directory !== undefined);
  }

  member(index: number): DevMember {
    const member = this.topology.members[index];
    if (member === undefined) throw new Error(`there is no member ${index}`);
    return member;
  }

  http(index: number): string {
    const { address } = this.member(index);
    return `http://${address.host}:${address.httpPort}`;
  }

  /** Kills a node with SIGKILL, and waits until it is gone. Nodes count from 1 here, as in the command. */
  async kill(number: number): Promise<void> {
    await this.#command(`kill ${number}`, (line) => line.startsWith(`node-${number} ended`));
  }

  /** Starts a node again, and waits until it is ready. */
  async start(number: number): Promise<void> {
    await this.#command(`start ${number}`, (line) => line === `node-${number} is ready`);
  }

  /** Waits until a line of the output, an earlier one too, is like this. */
  async said(line: RegExp): Promise<void> {
    await until(this.#lines, this.#waiting, this.#ended, (text) => line.test(text), 0);
  }

  output(): string {
    return this.#lines.join('\n');
  }

  /** Stops the cluster as Ctrl-C does; answers the exit code. Removes its directory unless it was given one. */
  async stop(): Promise<number> {
    this.#child.kill('SIGINT');
    const code = await this.#ended;
    if (!this.#keep) await rm(this.directory, { recursive: true, force: true });
    return code;
  }

  /** Kills the development cluster itself, without a word to its nodes. */
  async die(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  async #command(text: string, done: (line: string) => boolean): Promise<void> {
    const from = this.#lines.length;
    this.#child.stdin?.write(`${text}\n`);
    await until(this.#lines, this.#waiting, this.#ended, done, from);
  }
}

/** Waits for a line of the output; fails with the whole output when the process ends before. */
async function until(
  lines: string[],
  waiting: Set<() => void>,
  ended: Promise<number>,
  done: (line: string) => boolean,
  from: number,
): Promise<void> {
  let at = from;
  let finish: () => void = () => {};
  const seen = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const check = (): void => {
    for (; at < lines.length; at += 1) if (done(lines[at] ?? '')) finish();
  };
  waiting.add(check);
  check();
  const died = ended.then((code) => {
    check();
    throw new Error(`the cluster ended with exit code ${code}:\n${lines.join('\n')}`);
  });
  died.catch(() => {});
  try {
    await Promise.race([seen, died]);
  } finally {
    waiting.delete(check);
  }
}
