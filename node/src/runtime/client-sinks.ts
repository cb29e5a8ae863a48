/** Where the operations of clients end: timed, counted, told to the admission, and passed on to the client. */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, type CoterieError } from '../base/errors.ts';
import type { BucketDefinition } from '../cluster/ring/topology.ts';
import type { Sink } from './answer.ts';
import { CHECKSUM, type NodeCore } from './core.ts';
import type { ReadResult } from './kv.ts';
import type { NodeMetrics } from './node-metrics.ts';
import type { ReadAnswer } from './read-operation.ts';
import { NEVER_WRITTEN, ObjectRead, registerRead } from './read-result.ts';
import type { WriteAnswer } from './write-command.ts';

/** One operation of a client, from its admission on: times it, and tells the admission of its end. */
class Timed {
  readonly core: NodeCore;
  readonly startMs: number;
  /** Admitted, and not part of another that was. */
  readonly admitted: boolean;
  begun: boolean;

  constructor(core: NodeCore, startMs: number, begun: boolean, admitted: boolean) {
    this.core = core;
    this.startMs = startMs;
    this.begun = begun;
    this.admitted = admitted;
  }

  ended(histogram: NodeMetrics['readMs'], error?: CoterieError): void {
    if (!this.begun) return;
    const { clock, pace, admission } = this.core;
    const tookMs = clock.monotonicMs() - this.startMs;
    histogram.observe(tookMs);
    pace.observe(tookMs);
    if (this.admitted) admission.ended(tookMs, error);
  }
}

/** Turns the content that a read ends with into the client's answer, and counts. */
export class ReadSink extends Timed implements Sink<Pick<ReadAnswer, 'bytes' | 'fallbacks'>> {
  readonly #sink: Sink<ReadResult>;
  readonly #bucket: BucketDefinition;
  readonly #key: ByteString;
  #over = false;

  constructor(
    core: NodeCore,
    startMs: number,
    begun: boolean,
    admitted: boolean,
    sink: Sink<ReadResult>,
    bucket: BucketDefinition,
    key: ByteString,
  ) {
    super(core, startMs, begun, admitted);
    this.#sink = sink;
    this.#bucket = bucket;
    this.#key = key;
  }

  succeed({ bytes, fallbacks }: Pick<ReadAnswer, 'bytes' | 'fallbacks'>): void {
    if (this.#over) return;
    let result: ReadResult;
    try {
      result = this.#resultOf(bytes, fallbacks);
    } catch (error) {
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') throw error;
      this.fail(coded);
      return;
    }
    this.#over = true;
    this.ended(this.core.metrics.readMs);
    this.#sink.succeed(result);
  }

  fail(error: CoterieError): void {
    if (this.#over) return;
    this.#over = true;
    const { counts, readMs } = this.core.metrics;
    counts.readsFailed.add();
    if (error.code === 'TIMEOUT') counts.timeouts.add();
    if (error.code === 'NO_QUORUM') counts.noQuorum.add();
    this.ended(readMs, error);
    this.#sink.fail(error);
  }

  #resultOf(bytes: Uint8Array | undefined, fallbacks: number | undefined): ReadResult {
    if (bytes === undefined) return NEVER_WRITTEN;
    if (this.#bucket.consistency === 'strong') return registerRead(bytes);
    const { topology, clock } = this.core;
    return new ObjectRead(bytes, topology, this.#bucket, this.#key, clock.wallMs(), CHECKSUM, fallbacks);
  }
}

/** Passes what a write ends with on to the client, and counts. */
export class WriteSink extends Timed implements Sink<WriteAnswer> {
  readonly #sink: Sink<WriteAnswer>;
  #over = false;

  constructor(core: NodeCore, startMs: number, begun: boolean, sink: Sink<WriteAnswer>) {
    super(core, startMs, begun, true);
    this.#sink = sink;
  }

  succeed(answer: WriteAnswer): void {
    if (this.#over) return;
    this.#over = true;
    this.ended(this.core.metrics.writeMs);
    this.#sink.succeed(answer);
  }

  fail(error: CoterieError): void {
    if (this.#over) return;
    this.#over = true;
    const { counts, writeMs } = this.core.metrics;
    counts.writesFailed.add();
    if (error.code === 'TIMEOUT') counts.timeouts.add();
    if (error.code === 'NO_QUORUM') counts.noQuorum.add();
    this.ended(writeMs, error);
    this.#sink.fail(error);
  }
}
