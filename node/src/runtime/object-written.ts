/** What a write answers, from the object that it left. */

import { type Context, contextOf, encodeContext } from '../cluster/versioning/context.ts';
import type { KvObject, Sibling } from '../cluster/versioning/object.ts';
import { isExpired, present } from '../cluster/versioning/present.ts';
import { isReplaced } from '../cluster/versioning/visibility.ts';
import { TOKENS } from './client-tokens.ts';
import { CHECKSUM, type NodeCore } from './core.ts';
import type { WriteAnswer, WriteCommand } from './write-command.ts';

/** Knows which values are a write's. */
export interface Writer {
  isOwn(object: KvObject, sibling: Sibling): boolean;
}

/** A write's answer; the context is made when it is asked for: most clients do not want it. */
export class ObjectWritten implements WriteAnswer {
  fallbacks = 0;
  readonly existed: boolean;
  readonly changed: boolean;
  readonly #core: NodeCore;
  readonly #command: WriteCommand;
  /** Absent where it would cover what the client was not shown. */
  readonly #knowledge: Context | undefined;
  readonly #siblings: number;

  constructor(core: NodeCore, command: WriteCommand, object: KvObject, existed: boolean, changed: boolean, writer: Writer) {
    const { siblings } = object;
    this.#core = core;
    this.#command = command;
    let seen = true;
    for (const sibling of siblings) {
      if (writer.isOwn(object, sibling)) continue;
      if (!isExpired(sibling.expireAtMs, core.clock.wallMs()) && !isReplaced(object, sibling)) seen = false;
    }
    this.#knowledge = seen ? contextOf(object) : undefined;
    this.#siblings = siblings.length < 2 ? siblings.length : present(object, core.clock.wallMs()).length;
    this.existed = existed;
    this.changed = changed;
  }

  get siblings(): number {
    return this.#siblings;
  }

  get context(): Uint8Array | undefined {
    if (this.#knowledge === undefined) return undefined;
    const { bucket, key } = this.#command;
    const place = { clusterId: this.#core.topology.clusterId, bucketId: bucket.id, key };
    return encodeContext(this.#knowledge, place, CHECKSUM, TOKENS);
  }
}
