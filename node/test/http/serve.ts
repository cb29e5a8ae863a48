/** The HTTP application over a MapNode on a free loopback port, and a client that sends requests as they are. */

import { createServer, request as httpRequest, type IncomingHttpHeaders, type Server } from 'node:http';

import { type Credential, Gate } from '../../src/api/credentials.ts';
import { HTTP_SERVER_OPTIONS, httpCallback } from '../../src/api/http/app.ts';
import type { LogFields } from '../../src/telemetry/logger.ts';
import { MetricRegistry } from '../../src/telemetry/metrics.ts';
import { MapNode, type MapNodeOptions } from '../conformance/map-node.ts';
import { sameBytes } from '../resp/drive.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The body as JSON. */
  readonly json: () => Record<string, unknown>;
}

export interface Asked {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
}

export async function ask(port: number, method: string, path: string, { headers = {}, body }: Asked = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const whole = Buffer.concat(chunks);
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: whole,
          json: () => JSON.parse(whole.toString('utf8')) as Record<string, unknown>,
        });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

export interface HttpServedOptions extends MapNodeOptions {
  readonly credentials?: readonly Credential[];
  readonly bodyBytes?: number;
}

export class HttpServed {
  readonly node: MapNode;
  readonly metrics: MetricRegistry = new MetricRegistry();
  /** The waits that the application asked for, in ms; each is over in the next turn. */
  readonly waits: number[] = [];
  readonly logged: { readonly event: string; readonly fields: LogFields | undefined }[] = [];
  readonly #server: Server;

  private constructor(options: HttpServedOptions) {
    this.node = new MapNode(options);
    const log = {
      log: (_level: string, event: string, fields?: LogFields): void => {
        this.logged.push({ event, fields });
      },
    };
    const gate = new Gate(options.credentials ?? [], sameBytes);
    const after = (delayMs: number, fn: () => void): void => {
      this.waits.push(delayMs);
      setImmediate(fn);
    };
    this.#server = createServer(
      HTTP_SERVER_OPTIONS,
      httpCallback({
        node: this.node,
        gate,
        log,
        metrics: this.metrics,
        after,
        ...(options.bodyBytes === undefined ? {} : { bodyBytes: options.bodyBytes }),
      }),
    );
  }

  static async start(options: HttpServedOptions = {}): Promise<HttpServed> {
    const served = new HttpServed(options);
    await new Promise<void>((resolve) => served.#server.listen(0, '127.0.0.1', resolve));
    return served;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  ask(method: string, path: string, asked: Asked = {}): Promise<Answer> {
    return ask(this.port, method, path, asked);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
