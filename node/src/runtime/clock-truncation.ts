/**
 * The truncation of one key's clock that is too long: what must be known first, and what is left then (cluster/versioning/truncate.ts). Only writes
 * that meet such a clock have one of these.
 */

import type { KvObject } from '../cluster/versioning/object.ts';
import { digestOf } from './content.ts';
import type { NodeCore } from './core.ts';
import { surveyHints } from './hint-survey.ts';
import type { WriteCommand } from './write-command.ts';

export class ClockTruncation {
  readonly #core: NodeCore;
  readonly #command: Pick<WriteCommand, 'replicas' | 'diskKey'>;
  #hintless = false;
  /** By the wall clock: what is written from then on is later than this, but for the difference of clocks. */
  #surveyedMs = 0;

  /** @param command with bytes of its own */
  constructor(core: NodeCore, command: Pick<WriteCommand, 'replicas' | 'diskKey'>) {
    this.#core = core;
    this.#command = command;
  }

  /** Nobody keeps a hint of the key; false while that is not known. */
  get hintless(): boolean {
    return this.#hintless;
  }

  /**
   * Asks whether anybody keeps a hint of the key. To be done before the primaries are asked: a hint that is delivered in between is found there.
   *
   * @param local the coordinator's copy
   */
  survey(local: Uint8Array | undefined, timeoutMs: number, done: () => void): void {
    this.#surveyedMs = this.#core.clock.wallMs();
    surveyHints(this.#core, this.#command, local === undefined ? '' : digestOf(local), timeoutMs, (clear) => {
      this.#hintless = clear;
      done();
    });
  }

  /** @param confirmed every primary was found to have the clock of `held` since the survey, and nobody keeps a hint */
  truncated(held: KvObject, keep: number, confirmed: boolean): KvObject {
    const { limits, metrics, policies } = this.#core;
    const left = policies.truncate(held, keep, confirmed ? this.#surveyedMs - limits.clockEntryAgeMs : undefined);
    if (left !== held) metrics.counts.clocksTruncated.add();
    return left;
  }
}
