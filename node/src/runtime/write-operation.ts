/**
 * One write at its coordinator: merged into the coordinator's own copy, then sent to the other primaries.
 *
 * Invariants:
 * - reading the own copy, merging, minting the dot and handing the result to the engine happen within one turn of the loop: the dot's holder
 *   has everything that the new clock says it has seen, and no other write of the key comes in between;
 * - a failure before the engine has the write has outcome `none`, one after it `unknown`;
 * - the object goes to all N primaries, and to the wire before its own fsync: safe, because a crash ends the actor (cluster/membership/boot.ts).
 */

import { asCoterieError, CoterieError, type ErrorCode, type Outcome } from '../base/errors.ts';
import type { Timer } from '../env/clock.ts';
import { Pending } from '../storage/engine.ts';
import { overlapping } from '../cluster/quorum/legality.ts';
import type { Content } from '../cluster/quorum/read.ts';
import { acknowledged, bits, newWrite, timedOut, type WriteOut, type WriteState, writeStep } from '../cluster/quorum/write.ts';
import { type Allocate, decodeObject, encodeObject, readHeader } from '../cluster/versioning/codec.ts';
import { type Context, contextOf, decodeContext, encodeContext } from '../cluster/versioning/context.ts';
import { CLOCK_TRUNCATE, type Dot, emptyObject, type KvObject, sameDot, type Sibling } from '../cluster/versioning/object.ts';
import { findOperation, operationOf } from '../cluster/versioning/operation.ts';
import { isExpired, isReplaced, present } from '../cluster/versioning/present.ts';
import { type Applied, applyWrite, type Mutation, type Operation } from '../cluster/versioning/update.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import type { Sink } from './answer.ts';
import { contentOf, digestOf, mergeContents } from './content.ts';
import { CHECKSUM, type NodeCore } from './core.ts';
import { GatherOperation } from './gather-operation.ts';
import { bodyHash, owned, type WriteAnswer, type WriteCommand } from './write-command.ts';

/** Copies keep going out for so long after a client has stopped waiting. */
const LEAST_REPLICATION_MS = 1000;

interface Gathered {
  readonly content: Content;
  /** The digest that every primary was found to have; undefined where they differ. */
  readonly unanimous: string | undefined;
}

/** Where objects are encoded to be handed out: engine and transport copy within their calls, so that one place serves all writes. */
const scratch = new Uint8Array(64 * 1024);
const lend: Allocate = (size) => (size <= scratch.length ? scratch.subarray(0, size) : new Uint8Array(size));

export class WriteOperation implements WriteOut {
  readonly #core: NodeCore;
  #command: WriteCommand;
  readonly #sink: Sink<WriteAnswer>;
  readonly #startMs: number;
  #context: Context | undefined;
  #operation: Operation | undefined;
  /** The dot of this write, once it has one. */
  #minted: Dot | undefined;
  #gathered: Gathered | undefined;
  #state: WriteState | undefined;
  #answer: WriteAnswer | undefined;
  #deadline: Timer | undefined;
  #over = false;
  #ownsBytes = false;

  constructor(core: NodeCore, command: WriteCommand, sink: Sink<WriteAnswer>) {
    this.#core = core;
    this.#command = command;
    this.#sink = sink;
    this.#startMs = core.clock.monotonicMs();
  }

  /** With bytes of its own if the operation had to wait. */
  get command(): WriteCommand {
    return this.#command;
  }

  start(): void {
    const { standing, members, policies, topology } = this.#core;
    const command = this.#command;
    const reason = standing.refusesToCoordinate();
    if (reason !== undefined) {
      this.#refuse(new CoterieError('NOT_SYNCHRONISED', `this node cannot coordinate writes: ${reason}`, { outcome: 'none' }));
      return;
    }
    const reachable = bits(members.reachableBits(command.replicas));
    if (reachable < command.w) {
      const message = `${String(command.w)} replicas must take the write, and ${String(reachable)} can be reached`;
      this.#refuse(new CoterieError('NO_QUORUM', message, { outcome: 'none' }));
      return;
    }
    try {
      const place = { clusterId: topology.clusterId, bucketId: command.bucket.id, key: command.key };
      if (command.context !== undefined) this.#context = decodeContext(command.context, place, CHECKSUM);
      if (command.operationId !== undefined) {
        this.#operation = policies.operation({ id: command.operationId, bodyHash: bodyHash(command) });
      }
      this.#attempt();
    } catch (error) {
      this.#refuse(error);
    }
  }

  acknowledge(): void {
    this.#deadline?.cancel();
    // Set before the machine's first event.
    if (this.#answer !== undefined) this.#sink.succeed(this.#answer);
  }

  fail(code: ErrorCode, message: string, outcome: Outcome): void {
    this.#deadline?.cancel();
    this.#sink.fail(new CoterieError(code, message, { outcome }));
  }

  settle(): void {
    this.#deadline?.cancel();
  }

  /** One try of the read-modify-write; whatever is missing is awaited, then it starts over. */
  #attempt(): void {
    if (this.#over) return;
    const { store, leases } = this.#core;
    const entry = store.tryGet(this.#command.diskKey);
    if (entry instanceof Pending) {
      this.#await(store.load(entry));
      return;
    }
    const stored = entry?.value;
    let local = stored;
    if (this.#gathered !== undefined) {
      const { content } = this.#gathered;
      if (content.bytes !== undefined) local = mergeContents(this.#core.policies, contentOf(local), content).bytes;
    }
    if (local !== undefined && !leases.observe(readHeader(local).newest)) {
      throw new CoterieError('CLOCK_SKEW', 'the key holds times too far ahead of this node’s clock', { outcome: 'none' });
    }
    if (!leases.ready()) {
      this.#await(leases.renew());
      return;
    }
    const object = local === undefined ? emptyObject() : decodeObject(local, CHECKSUM);
    if (this.#gathered === undefined && this.#gatherFirst(object, local)) return;
    this.#apply(object, local, stored);
  }

  /** Whether the copies of others must be had first; then it has asked for them. */
  #gatherFirst(object: KvObject, local: Uint8Array | undefined): boolean {
    const { bucket, kind, keepTtl, replicas } = this.#command;
    const n = replicas.length;
    let need = 0;
    let thorough = false;
    if (this.#operation !== undefined && findOperation(object, this.#operation.id, this.#operation.bodyHash) === undefined) {
      need = overlapping(n, bucket.W) - 1;
      thorough = n > 1;
    }
    if (bucket.blindWrites === 'quorum' && this.#context === undefined) need = Math.max(need, bucket.R - 1);
    // What these answer depends on what is there, and this copy may have missed the latest.
    if (kind === 'expire' || keepTtl) need = Math.max(need, overlapping(n, bucket.W) - 1);
    const truncate = object.clock.length > CLOCK_TRUNCATE && kind === 'put';
    if (truncate && this.#core.members.reachableBits(replicas) === 2 ** n - 1) need = n - 1;
    if (need === 0 && !thorough) return false;
    this.#ownBytes();
    this.#core.metrics.counts.gathers.add();
    const expected = local === undefined ? '' : digestOf(local);
    new GatherOperation(this.#core, {
      diskKey: this.#command.diskKey,
      replicas,
      need,
      thorough,
      expected,
      timeoutMs: this.#remainingMs(),
      done: (content, unanimous) => {
        this.#gathered = { content, unanimous: unanimous ? expected : undefined };
        this.#again();
      },
      failed: (error) => {
        this.#refuse(error);
      },
    }).start();
    return true;
  }

  /** @param stored this store's copy, where `local` may hold more */
  #apply(object: KvObject, local: Uint8Array | undefined, stored: Uint8Array | undefined): void {
    const { clock, leases, policies, metrics } = this.#core;
    const own = policies.ownCopy(local);
    const seen = own === local ? object : own === undefined ? emptyObject() : decodeObject(own, CHECKSUM);
    const applied = applyWrite(seen, this.#mutation(), {
      dot: () => {
        this.#minted = leases.dot();
        return this.#minted;
      },
      time: leases.time(),
      nowMs: clock.wallMs(),
      clockConfirmed: local !== undefined && this.#gathered?.unanimous === digestOf(local),
    });
    switch (applied.kind) {
      case 'refused':
        throw new CoterieError(applied.code, applied.message, { outcome: 'none' });
      case 'unchanged':
        this.#sink.succeed(this.#answerOf(applied.object, applied.existed, false));
        return;
      case 'repeated':
        metrics.counts.operationsRepeated.add();
        break;
      case 'applied':
        this.#warn(applied);
        break;
    }
    metrics.counts.coordinated.add();
    this.#replicate(applied.object, applied.existed, stored);
  }

  #mutation(): Mutation {
    const { kind, value, expireAtMs, keepTtl } = this.#command;
    const common = { context: this.#context, operation: this.#operation };
    switch (kind) {
      case 'put':
        return { ...common, kind, value, expireAtMs, keepTtl };
      case 'delete':
        return { ...common, kind };
      case 'expire':
        return { ...common, kind, atMs: expireAtMs };
    }
  }

  /** Hands the object to the engine and to the other primaries, and counts. */
  #replicate(object: KvObject, existed: boolean, stored: Uint8Array | undefined): void {
    const { members, store, encoder, transport, topology, policies } = this.#core;
    const { replicas, diskKey, w } = this.#command;
    const bytes = encodeObject(object, CHECKSUM, lend);
    const own = replicas.indexOf(members.self);
    const state = newWrite(replicas.length, policies.writeQuorum(w));
    this.#answer = this.#answerOf(object, existed, true);
    let handing = true;
    let refusal: CoterieError | undefined;
    store.put(diskKey, stored, bytes, readHeader(bytes), (error) => {
      if (error === undefined) writeStep(state, acknowledged(own), this);
      else if (handing && error.outcome === 'none') refusal = error;
      else writeStep(state, { kind: 'failed', replica: own, code: error.code }, this);
    });
    handing = false;
    // The engine refused it before any effect, and nobody else has it.
    if (refusal !== undefined) throw refusal;
    this.#state = state;
    const payload = replicas.length > 1 ? encoder.writeRequest(diskKey, bytes) : bytes;
    const deadlineMs = Math.max(LEAST_REPLICATION_MS, this.#remainingMs());
    for (let replica = 0; replica < replicas.length; replica += 1) {
      if (replica === own) continue;
      transport.request(members.nameOf(replicas[replica] ?? -1), MESSAGE.write, payload, deadlineMs, topology.epoch, (reply) => {
        writeStep(state, reply.kind === 'reply' ? acknowledged(replica) : { kind: 'failed', replica, code: reply.code }, this);
      });
    }
    if (!state.answered) this.#armDeadline();
  }

  #answerOf(object: KvObject, existed: boolean, changed: boolean): WriteAnswer {
    return new ObjectWritten(this.#core, this.#command, object, existed, changed, (sibling) => this.#isOwn(object, sibling));
  }

  #isOwn(object: KvObject, sibling: Sibling): boolean {
    if (this.#minted !== undefined && sameDot(this.#minted, sibling)) return true;
    return this.#operation !== undefined && operationOf(object, sibling)?.id === this.#operation.id;
  }

  #warn(applied: Extract<Applied, { kind: 'applied' }>): void {
    const { metrics, warn } = this.#core;
    for (const warning of applied.warnings) {
      metrics.counts[warning === 'siblings-many' ? 'siblingsWarned' : 'clocksWarned'].add();
      warn(warning, { bucket: this.#command.bucket.name, siblings: applied.object.siblings.length, clock: applied.object.clock.length });
    }
  }

  #await(ready: Promise<void>): void {
    this.#ownBytes();
    ready.then(
      () => {
        this.#again();
      },
      (error: unknown) => {
        this.#refuse(error);
      },
    );
  }

  #again(): void {
    try {
      this.#attempt();
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** From here on the operation outlives the call that brought it. */
  #ownBytes(): void {
    if (this.#ownsBytes) return;
    this.#ownsBytes = true;
    this.#command = owned(this.#command);
    this.#armDeadline();
  }

  #armDeadline(): void {
    this.#deadline ??= this.#core.wheel.after(this.#remainingMs(), () => {
      if (this.#state !== undefined) writeStep(this.#state, timedOut(), this);
      else this.#refuse(new CoterieError('TIMEOUT', 'the write could not begin in time', { outcome: 'none' }));
    });
  }

  /** Fails before any effect. */
  #refuse(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadline?.cancel();
    const coded = asCoterieError(error);
    if (coded.code === 'INTERNAL') throw error;
    const { code, message, retryAfterMs } = coded;
    this.#sink.fail(
      new CoterieError(code, message, { outcome: 'none', ...(retryAfterMs === undefined ? {} : { retryAfterMs }), cause: coded.cause }),
    );
  }

  #remainingMs(): number {
    return Math.max(1, Math.ceil(this.#startMs + this.#command.timeoutMs - this.#core.clock.monotonicMs()));
  }
}

/** A write's answer; the context is made when it is asked for: most clients do not want it. */
class ObjectWritten implements WriteAnswer {
  readonly existed: boolean;
  readonly changed: boolean;
  readonly #core: NodeCore;
  readonly #command: WriteCommand;
  /** Absent where it would cover what the client was not shown. */
  readonly #knowledge: Context | undefined;
  readonly #siblings: number;

  constructor(
    core: NodeCore,
    command: WriteCommand,
    object: KvObject,
    existed: boolean,
    changed: boolean,
    isOwn: (sibling: Sibling) => boolean,
  ) {
    const { siblings } = object;
    this.#core = core;
    this.#command = command;
    const unseen = (sibling: Sibling): boolean =>
      !isOwn(sibling) && !isExpired(sibling.expireAtMs, core.clock.wallMs()) && !isReplaced(object, sibling);
    this.#knowledge = siblings.some(unseen) ? undefined : contextOf(object);
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
    return encodeContext(this.#knowledge, place, CHECKSUM);
  }
}
