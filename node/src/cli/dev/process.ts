/**
 * One node of a development cluster as a child process: started, watched, stopped. Its log goes to a file; the events that change its state are
 * reported as they happen.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { dataPath, logPath, topologyPath } from './layout.ts';

/** How long a node may take to stop after SIGTERM before it is killed. */
const STOP_GRACE_MS = 10_000;

const LAUNCHER = fileURLToPath(new URL('../../../bin/coterie.js', import.meta.url));

/** What is told when a node serves. */
export const READY = 'is ready';

export interface NodeEvents {
  /** A change of state, in words. */
  changed(name: string, what: string): void;
  /** The process has ended. `reason` is what it said on its way, if it failed to start. */
  ended(name: string, how: string, reason: string | undefined): void;
}

interface LogLine {
  readonly event?: string;
  readonly level?: string;
  readonly member?: string;
  readonly reason?: string;
  readonly observers?: string;
}

/** Events of a node's log that a person watching wants to see. */
function worthTelling(line: LogLine): string | undefined {
  switch (line.event) {
    case 'node-ready':
      return READY;
    case 'node-not-ready':
      return `is not ready: ${line.reason ?? ''}`;
    case 'member-reached':
      return `reaches ${line.member ?? ''}`;
    case 'member-lost':
      return `lost ${line.member ?? ''}`;
    case 'member-down':
      return `counts ${line.member ?? ''} as DOWN, on the word of ${line.observers ?? ''}`;
    case 'member-up':
      return `counts ${line.member ?? ''} as UP`;
    case 'store-synchronising':
      return 'copies its partitions from the others';
    case 'store-synchronised':
      return 'has its partitions complete';
    default:
      return line.level === 'error' ? `reports ${line.event ?? 'an error'}` : undefined;
  }
}

export class NodeProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #log: WriteStream;
  readonly #ended: Promise<void>;
  #complaint: string | undefined;
  #readySeen = false;
  #onReady: () => void = () => undefined;
  /** Settles when the node serves, or has ended. */
  readonly settled: Promise<void>;

  constructor(directory: string, name: string, extra: readonly string[], events: NodeEvents) {
    this.name = name;
    this.#log = createWriteStream(logPath(directory, name), { flags: 'a' });
    const args = [
      LAUNCHER,
      'node',
      '--name',
      name,
      '--topology',
      topologyPath(directory),
      '--data-dir',
      dataPath(directory, name),
      ...extra,
    ];
    // A group of its own: Ctrl-C in the terminal reaches only the parent, which then stops the nodes in order. The channel tells a node
    // that the parent died.
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], detached: true });
    this.settled = new Promise((resolve) => {
      this.#onReady = resolve;
    });
    this.#watch(events);
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        this.#log.end();
        events.ended(
          name,
          signal === null ? `exit code ${code ?? 0}` : signal,
          code === 0 || signal !== null ? undefined : this.#complaint,
        );
        this.#onReady();
        resolve();
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get ready(): boolean {
    return this.#readySeen;
  }

  #watch(events: NodeEvents): void {
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) return;
    createInterface({ input: stdout }).on('line', (text) => {
      this.#log.write(`${text}\n`);
      const line = parsed(text);
      if (line === undefined) return;
      const told = worthTelling(line);
      if (told !== undefined) events.changed(this.name, told);
      if (line.event === 'node-ready') {
        this.#readySeen = true;
        this.#onReady();
      }
    });
    createInterface({ input: stderr }).on('line', (text) => {
      this.#log.write(`${text}\n`);
      this.#complaint = text;
    });
  }

  /** Asks the node to stop cleanly; kills it when it does not. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_GRACE_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  /** Ends the node at once, as a loss of power would end its process. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

function parsed(text: string): LogLine | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return undefined;
  }
}
