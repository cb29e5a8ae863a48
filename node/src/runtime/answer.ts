/** Where the result of an operation goes: to a caller in this process, at once or later, or back over the wire. */

import type { CoterieError } from '../base/errors.ts';
import type { Maybe } from './kv.ts';

/** Receives one result, by exactly one of its two calls. */
export interface Sink<T> {
  succeed(value: T): void;
  fail(error: CoterieError): void;
}

/** A sink whose result is given at once where it came at once, else as a promise. */
export class Answer<T> implements Sink<T> {
  #state: 'open' | 'value' | 'error' = 'open';
  #value: T | undefined;
  #error: CoterieError | undefined;
  #resolve: ((value: T) => void) | undefined;
  #reject: ((error: CoterieError) => void) | undefined;

  succeed(value: T): void {
    if (this.#state !== 'open') return;
    this.#state = 'value';
    this.#value = value;
    this.#resolve?.(value);
  }

  fail(error: CoterieError): void {
    if (this.#state !== 'open') return;
    this.#state = 'error';
    this.#error = error;
    this.#reject?.(error);
  }

  get settled(): boolean {
    return this.#state !== 'open';
  }

  /** The result, or a promise of it. Called once. @throws CoterieError when the operation has failed already */
  take(): Maybe<T> {
    switch (this.#state) {
      case 'value':
        // Set together with the state.
        return this.#value as T;
      case 'error':
        throw this.#error as CoterieError;
      case 'open':
        return new Promise((resolve, reject) => {
          this.#resolve = resolve;
          this.#reject = reject;
        });
    }
  }
}
