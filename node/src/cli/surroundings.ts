/** What a command may touch: handed in by the composition root, so that tests run commands as functions. */

import type { NodeSettings } from './settings.ts';

/** A node running in this process. */
export interface RunningNode {
  readonly name: string;
  readonly respPort: number;
  readonly httpPort: number;
  stop(): Promise<void>;
}

export interface Surroundings {
  /** Of this program, as in its package. */
  readonly version: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
  out(text: string | Uint8Array): void;
  err(text: string): void;
  /** All of standard input. */
  input(): Promise<Uint8Array>;
  /** Settles when the user or the system asks the process to end (SIGINT, SIGTERM). */
  interrupted(): Promise<string>;
  startNode(settings: NodeSettings): Promise<RunningNode>;
}

/** What a command answers to the shell. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  /** Refused or timed out by the cluster; trying again may help. */
  unavailable: 4,
} as const;

export interface Command {
  readonly name: string;
  readonly about: string;
  run(args: readonly string[], surroundings: Surroundings): Promise<number>;
}
