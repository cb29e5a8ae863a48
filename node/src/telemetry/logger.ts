/**
 * The logger: one event a line, with fields, to an injected sink. Keys, values, contexts and credentials are never fields.
 */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  log(level: LogLevel, event: string, fields?: LogFields): void;
}

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** A logger that writes JSON lines: `{"time", "level", "event", …fields}`. */
export class LineLogger implements Logger {
  readonly #least: number;
  readonly #wallMs: () => number;
  readonly #write: (line: string) => void;

  constructor(options: { readonly level: LogLevel; readonly wallMs: () => number; readonly write: (line: string) => void }) {
    this.#least = RANK[options.level];
    this.#wallMs = options.wallMs;
    this.#write = options.write;
  }

  log(level: LogLevel, event: string, fields: LogFields = {}): void {
    if (RANK[level] < this.#least) return;
    this.#write(`${JSON.stringify({ time: this.#wallMs(), level, event, ...fields })}\n`);
  }
}

/** Says nothing: for tools and tests that have nobody to tell. */
export const SILENT: Logger = { log: () => undefined };

/** What an unexpected error says in a log: name, message and the frames; never shown to a client. */
export function errorFields(error: unknown): LogFields {
  if (typeof error !== 'object' || error === null) return { error: String(error) };
  const { name, message, stack } = error as Partial<Error>;
  return { error: `${name ?? 'Error'}: ${message ?? ''}`, stack };
}
