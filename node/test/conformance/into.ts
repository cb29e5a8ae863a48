/** `KvNode.getInto` and `putInto` of nodes that tests make, from what their `get` and `put` answer. */

import { asCoterieError } from '../../src/base/errors.ts';
import type { Sink } from '../../src/runtime/answer.ts';
import type { Maybe } from '../../src/runtime/kv.ts';

export function into<T>(sink: Sink<T>, answer: Maybe<T>): void {
  if (!(answer instanceof Promise)) {
    sink.succeed(answer);
    return;
  }
  answer.then(
    (result) => {
      sink.succeed(result);
    },
    (error: unknown) => {
      sink.fail(asCoterieError(error));
    },
  );
}
