/** Where the operations of clients end: timed, counted, told to the admission, and passed on to the client. */

import type { ByteString } from '../base/bytes.ts';
import { asCoterieError, type CoterieError } from '../base/errors.ts';
import type { Counter, Histogram } from '../telemetry/metrics.ts';
import type { BucketDefinition } from '../cluster/ring/topology.ts';
import type { Sink } from './answer.ts';
import { CHECKSUM, type NodeCore } from './core.ts';
import type { ReadResult } from './kv.ts';
import type { ReadAnswer } from './read-operation.ts';
import { NEVER_WRITTEN, ObjectRead, registerRead } from './read-result.ts';
import type { WriteAnswer } from './write-command.ts';

/** One operation of a client, from its admission on. */
abstract class Operation<R> {
  readonly core: NodeCore;
  protected abstract readonly writes: boolean;
  /** It is under way; before that it waits for its turn. */
  begun: boolean;
  readonly #startMs: number;
  readonly #admitted: boolean;
  readonly #sink: Sink<R>;
  readonly #took: Histogram;
  readonly #failed: Counter;
  #over = false;

  /** @param admitted by itself, and not as part of another that was */
  constructor(core: NodeCore, startMs: number, begun: boolean, admitted: boolean, sink: Sink<R>, took: Histogram, failed: Counter) {
    this.core = core;
    this.begun = begun;
    this.#startMs = startMs;
    this.#admitted = admitted;
    this.#sink = sink;
    this.#took = took;
    this.#failed = failed;
  }

  answer(result: R): void {
    if (this.#over) return;
    this.#ended(undefined);
    this.#sink.succeed(result);
  }

  fail(error: CoterieError): void {
    if (this.#over) return;
    const { counts } = this.core.metrics;
    this.#failed.add();
    if (error.code === 'TIMEOUT') counts.timeouts.add();
    if (error.code === 'NO_QUORUM') counts.noQuorum.add();
    this.#ended(error);
    this.#sink.fail(error);
  }

  #ended(error: CoterieError | undefined): void {
    this.#over = true;
    if (!this.begun) return;
    const { clock, pace, admission } = this.core;
    const nowMs = clock.monotonicMs();
    const tookMs = nowMs - this.#startMs;
    this.#took.observe(tookMs);
    pace.observe(tookMs);
    if (this.#admitted) admission.ended(nowMs, tookMs, error, this.writes);
  }
}

/** Turns the content that a read ends with into the client's answer. */
export class ReadSink extends Operation<ReadResult> implements Sink<Pick<ReadAnswer, 'bytes' | 'fallbacks'>> {
  protected override readonly writes = false;
  readonly #bucket: BucketDefinition;
  readonly #key: ByteString;

  constructor(
    core: NodeCore,
    startMs: number,
    begun: boolean,
    admitted: boolean,
    sink: Sink<ReadResult>,
    bucket: BucketDefinition,
    key: ByteString,
  ) {
    super(core, startMs, begun, admitted, sink, core.metrics.readMs, core.metrics.counts.readsFailed);
    this.#bucket = bucket;
    this.#key = key;
  }

  succeed({ bytes, fallbacks }: Pick<ReadAnswer, 'bytes' | 'fallbacks'>): void {
    let result: ReadResult;
    try {
      result = this.#resultOf(bytes, fallbacks);
    } catch (error) {
      const coded = asCoterieError(error);
      if (coded.code === 'INTERNAL') throw error;
      this.fail(coded);
      return;
    }
    this.answer(result);
  }

  #resultOf(bytes: Uint8Array | undefined, fallbacks: number | undefined): ReadResult {
    if (bytes === undefined) return NEVER_WRITTEN;
    if (this.#bucket.consistency === 'strong') return registerRead(bytes);
    const { topology, clock } = this.core;
    return new ObjectRead(bytes, topology, this.#bucket, this.#key, clock.wallMs(), CHECKSUM, fallbacks);
  }
}

/** Passes what a write ends with on to the client. */
export class WriteSink extends Operation<WriteAnswer> implements Sink<WriteAnswer> {
  protected override readonly writes = true;

  constructor(core: NodeCore, startMs: number, begun: boolean, sink: Sink<WriteAnswer>) {
    super(core, startMs, begun, true, sink, core.metrics.writeMs, core.metrics.counts.writesFailed);
  }

  succeed(answer: WriteAnswer): void {
    this.answer(answer);
  }
}
