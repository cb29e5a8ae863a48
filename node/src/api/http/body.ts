/** A request's body in memory, up to a bound. */

import { Buffer } from 'node:buffer';
import { IncomingMessage } from 'node:http';

import { CoterieError } from '../../base/errors.ts';
import type { Sink } from '../../runtime/answer.ts';
import type { ByteBudget } from '../byte-budget.ts';

const EMPTY = Buffer.alloc(0);
/**
 * How much of a body that is too large is read past before it is refused: most clients send all of theirs before they look at the answer, and one
 * whose connection is closed meanwhile never sees it.
 */
const READ_PAST_BYTES = 16 * 1024 * 1024;

/** What Node itself calls on requests without a body, with `optimizeEmptyRequests`: the stream counts as read to its end, without its events. */
interface Closeable {
  readonly _dumpAndCloseReadable?: () => void;
}

/** Where a body goes. */
export interface BodySink extends Sink<Buffer> {
  /** The error for a body of `bytes` bytes, which is more than may be. */
  tooLarge(bytes: number): CoterieError;
}

/** Gathers one body, and tells its sink once what became of it. */
class Gathering {
  readonly #announced: number;
  readonly #most: number;
  readonly #budget: ByteBudget;
  readonly #reserved: number;
  readonly #sink: BodySink;
  #first: Buffer = EMPTY;
  #chunks: Buffer[] | undefined;
  #length = 0;
  #told = false;

  /** @throws CoterieError BUSY where the budget is used up */
  constructor(announced: number | undefined, most: number, budget: ByteBudget, sink: BodySink) {
    // A body whose length nobody has told may become as long as is allowed.
    this.#reserved = Math.min(announced ?? most, most);
    if (!budget.take(this.#reserved)) {
      throw new CoterieError('BUSY', 'this node holds as many unfinished requests as it can', { outcome: 'none' });
    }
    this.#announced = announced ?? 0;
    this.#most = most;
    this.#budget = budget;
    this.#sink = sink;
  }

  begin(): void {
    if (this.#announced > this.#most + READ_PAST_BYTES) this.#fail(this.#sink.tooLarge(this.#announced));
  }

  take(chunk: Buffer): void {
    this.#length += chunk.length;
    if (this.#length > this.#most || this.#announced > this.#most) {
      // Read past, unkept.
      this.#chunks = undefined;
      this.#first = EMPTY;
      if (this.#length > this.#most + READ_PAST_BYTES) this.#fail(this.#sink.tooLarge(this.#length));
      return;
    }
    if (this.#chunks !== undefined) this.#chunks.push(chunk);
    else if (this.#first.length === 0) this.#first = chunk;
    else this.#chunks = [this.#first, chunk];
  }

  end(): void {
    if (this.#length > this.#most) {
      this.#fail(this.#sink.tooLarge(this.#length));
      return;
    }
    if (!this.#tell()) return;
    this.#sink.succeed(this.#chunks === undefined ? this.#first : Buffer.concat(this.#chunks, this.#length));
  }

  gone(): void {
    this.#fail(new CoterieError('CANCELLED', 'the client went away before the whole body was there', { outcome: 'none' }));
  }

  #fail(error: CoterieError): void {
    if (this.#tell()) this.#sink.fail(error);
  }

  /** False where it was told before. */
  #tell(): boolean {
    if (this.#told) return false;
    this.#told = true;
    this.#budget.give(this.#reserved);
    return true;
  }
}

/**
 * A request whose body goes from the parser straight to whoever gathers it: the buffers and events of a stream cost as much as the rest of a small
 * request. Until somebody does, and where nobody does, it is the stream that Node makes of it.
 */
export class BodyRequest extends IncomingMessage {
  #gathering: Gathering | undefined;

  gather(gathering: Gathering): void {
    // What came before it was asked for.
    if (this.readableLength > 0) gathering.take(this.read() as Buffer);
    // Of a request without any body Node ends the stream at once.
    if (this.complete || this.readableEnded) {
      gathering.end();
    } else if (this.destroyed) {
      gathering.gone();
    } else {
      this.#gathering = gathering;
      gathering.begin();
    }
  }

  /** The parser has a piece of the body, or none any more. */
  override push(chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    const gathering = this.#gathering;
    if (gathering === undefined) return super.push(chunk, encoding);
    if (chunk !== null) {
      gathering.take(chunk);
      return true;
    }
    this.#gathering = undefined;
    const { _dumpAndCloseReadable: close } = this as unknown as Closeable;
    if (close === undefined) super.push(null);
    else close.call(this);
    gathering.end();
    return false;
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const gathering = this.#gathering;
    this.#gathering = undefined;
    super._destroy(error, done);
    gathering?.gone();
  }
}

/**
 * Reads the whole body; one that came with its head is there before the parser is through with what the socket gave it. Fails with what
 * the sink calls too large, of which nothing is kept, or CANCELLED where the client went away.
 *
 * @param request of a server with HTTP_SERVER_OPTIONS
 * @param budget what the bodies of all requests may take together, each for as long as it is read
 * @throws CoterieError BUSY where the budget is used up
 */
export function readBody(request: IncomingMessage, most: number, budget: ByteBudget, sink: BodySink): void {
  if (!(request instanceof BodyRequest)) throw new Error('broken invariant: the server makes requests that can be gathered');
  const length = request.headers['content-length'];
  request.gather(new Gathering(length === undefined ? undefined : Number(length), most, budget, sink));
}
