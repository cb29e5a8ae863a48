/** A RESP server without sockets: bytes in, bytes out, in turns that the test takes. */

import { type ConstantTimeEqual, type Credential, Gate } from '../../src/api/credentials.ts';
import { RESP_LIMITS, type RespLimits } from '../../src/api/resp/limits.ts';
import { type RespConnectionHandler, RespServer } from '../../src/api/resp/server.ts';
import { type LogFields, type Logger } from '../../src/telemetry/logger.ts';
import { MetricRegistry } from '../../src/telemetry/metrics.ts';
import { MapNode, type MapNodeOptions } from '../conformance/map-node.ts';

export interface DriveOptions extends MapNodeOptions {
  readonly credentials?: readonly Credential[];
  readonly resp?: Partial<RespLimits>;
  readonly node?: MapNode;
  /** For a server on real sockets; by default later turns are those of `settle`. */
  readonly soon?: (fn: () => void) => void;
}

export const sameBytes: ConstantTimeEqual = (a, b) => Buffer.compare(a, b) === 0;

/** A server whose later turns come when `turn` is called. */
export class RespDrive {
  readonly node: MapNode;
  readonly server: RespServer;
  readonly metrics: MetricRegistry = new MetricRegistry();
  readonly logged: { readonly event: string; readonly fields: LogFields | undefined }[] = [];
  #due: (() => void)[] = [];

  constructor(options: DriveOptions = {}) {
    this.node = options.node ?? new MapNode(options);
    const log: Logger = {
      log: (_level, event, fields) => {
        this.logged.push({ event, fields });
      },
    };
    this.server = new RespServer({
      node: this.node,
      gate: new Gate(options.credentials ?? [], sameBytes),
      limits: { ...RESP_LIMITS, ...options.resp },
      facts: { version: '0.1.0', processId: 1, memoryBytes: () => 1 },
      log,
      metrics: this.metrics,
      soon:
        options.soon ??
        ((fn) => {
          this.#due.push(fn);
        }),
    });
  }

  connect(): RespClient {
    return new RespClient(this);
  }

  /** Lets promises settle and runs what was put off, until nothing is left. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3;) {
      for (let turn = 0; turn < 40; turn += 1) await Promise.resolve();
      const due = this.#due;
      this.#due = [];
      for (const fn of due) fn();
      quiet = due.length === 0 ? quiet + 1 : 0;
    }
  }
}

/** One connection as its client sees it. */
export class RespClient {
  readonly handler: RespConnectionHandler;
  paused = false;
  ended = false;
  destroyed = false;
  /** Makes the sink ask for a drain after each write. */
  slow = false;
  writes = 0;
  readonly #drive: RespDrive;
  #received: Buffer[] = [];

  constructor(drive: RespDrive) {
    this.#drive = drive;
    this.handler = drive.server.accept({
      remote: 'test:1',
      write: (chunk) => {
        this.writes += 1;
        this.#received.push(Buffer.from(chunk));
        return !this.slow;
      },
      pause: () => {
        this.paused = true;
      },
      resume: () => {
        this.paused = false;
      },
      end: () => {
        this.ended = true;
      },
      destroy: () => {
        this.destroyed = true;
        this.handler.onClose();
      },
    });
  }

  /** Gives bytes as one chunk, which is overwritten afterwards, as a borrowed one may be. */
  give(bytes: Buffer | string): void {
    const chunk = Buffer.from(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    this.handler.onData(chunk);
    chunk.fill(0x21);
  }

  /** What came back since the last call. */
  take(): string {
    const text = Buffer.concat(this.#received).toString('latin1');
    this.#received = [];
    return text;
  }

  /** One request as an array of bulk strings, and its reply. */
  async ask(...words: (string | Buffer)[]): Promise<string> {
    this.give(request(...words));
    await this.#drive.settle();
    return this.take();
  }
}

export function request(...words: (string | Buffer)[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${words.length}\r\n`)];
  for (const word of words) {
    const bytes = typeof word === 'string' ? Buffer.from(word, 'latin1') : word;
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}
