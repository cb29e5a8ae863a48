import { CoterieError } from '../base/errors.ts';
import type { Tree, View } from './tree.ts';

/** A view of the whole store as it was at one moment. It holds memory and files: close it. */
export class Snapshot {
  readonly view: View;
  readonly #tree: Tree;
  #closed = false;

  constructor(tree: Tree) {
    this.#tree = tree;
    this.view = tree.view();
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tree.release(this.view);
  }
}

/** @throws CoterieError CLOSED */
export function viewOf(snapshot: Snapshot): View {
  if (snapshot.isClosed) throw new CoterieError('CLOSED', 'the snapshot is closed');
  return snapshot.view;
}
