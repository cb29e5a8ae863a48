/** Byte streams between processes, injected: TCP or TLS in `env-node`, simulated ones in `sim`. */

/** Where a process listens; port 0 asks for a free one. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** One ordered stream of bytes, open from the start. Callbacks never run inside a call that causes them. */
export interface Connection {
  /** For logs only. */
  readonly remote: string;
  /** Bytes accepted by `write` that the peer's window has not taken yet. */
  readonly buffered: number;
  /**
   * Sends bytes in order. `chunk` is borrowed until the call returns: what cannot be sent at once is copied.
   * Answers false when `buffered` is above the high-water mark: the caller should wait for `onDrain`.
   */
  write(chunk: Uint8Array): boolean;
  /** Stops and restarts `onData`; the peer then feels back-pressure. */
  pause(): void;
  resume(): void;
  /** Sends what is buffered, then closes. */
  end(): void;
  /** Closes at once; what is buffered is lost. */
  destroy(): void;
}

export interface ConnectionHandler {
  /** `chunk` is borrowed until the call returns. */
  onData(chunk: Uint8Array): void;
  onDrain(): void;
  /** Once, last. `error` is absent on an orderly end. */
  onClose(error?: Error): void;
}

export interface Listener {
  readonly address: Address;
  /** Accepts no more; open connections stay. */
  close(): Promise<void>;
}

export interface Network {
  /**
   * @param accept answers the handler of each new connection
   * @throws CoterieError PORT_IN_USE
   */
  listen(address: Address, accept: (connection: Connection) => ConnectionHandler): Promise<Listener>;
  /**
   * Opens a connection. `opened` runs once it stands and answers its handler; `failed` runs instead when it cannot be had
   * within `timeoutMs`.
   */
  connect(address: Address, timeoutMs: number, opened: (connection: Connection) => ConnectionHandler, failed: (error: Error) => void): void;
}
