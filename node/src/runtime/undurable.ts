/**
 * Which keys of strong buckets have a copy in memory that is not on the disk yet. A replica that told of such a copy could lose it with the
 * power, and a read that counted on it would be gone behind.
 *
 * Invariants: an entry stands from the put until the engine says that it is durable; of several puts of one key the last decides, because each
 * holds what the ones before it held; an entry whose put failed stays, until a later put of the key is durable.
 */

import type { ByteString } from '../base/bytes.ts';
import type { CoterieError } from '../base/errors.ts';

type Done = (error: CoterieError | undefined) => void;

interface Put {
  open: boolean;
  readonly waiting: Done[];
}

export type Durability = 'durable' | 'open' | 'failed';

export class UndurableKeys {
  readonly #puts = new Map<ByteString, Put>();

  /** A put of the key begins: what answers it must be called in place of `done`. */
  begin(key: ByteString, done: Done): Done {
    const before = this.#puts.get(key);
    const put: Put = { open: true, waiting: [] };
    this.#puts.set(key, put);
    return (error) => {
      put.open = false;
      if (this.#puts.get(key) === put) {
        if (error === undefined) this.#puts.delete(key);
        // Refused within the call: the copy is what it was.
        else if (error.outcome === 'none') {
          if (before === undefined) this.#puts.delete(key);
          else this.#puts.set(key, before);
        }
      }
      done(error);
      for (const waiter of put.waiting) waiter(error);
    };
  }

  of(key: ByteString): Durability {
    const put = this.#puts.get(key);
    return put === undefined ? 'durable' : put.open ? 'open' : 'failed';
  }

  /** Runs `done` when the put under way has ended; only where one is `open`. */
  wait(key: ByteString, done: Done): void {
    this.#puts.get(key)?.waiting.push(done);
  }
}
