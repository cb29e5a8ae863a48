/**
 * One write at its coordinator: merged into the coordinator's own copy, then sent to the other primaries.
 *
 * Invariants:
 * - reading the own copy, merging, minting the dot and handing the result to the engine happen within one turn of the loop: the dot's holder
 *   has everything that the new clock says it has seen, and no other write of the key comes in between;
 * - a failure before the engine has the write has outcome `none`, one after it `unknown`;
 * - the object goes to all N primaries that are not down, and to the wire before its own fsync: safe, because a crash ends the actor
 *   (cluster/membership/boot.ts);
 * - where this node is no primary it stands in for one: its own copy is then its hinted one, and its dots are of an actor of their own
 *   (cluster/handoff/stand-in-actor.ts).
 */

import { asCoterieError, CoterieError, type ErrorCode, type Outcome } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import type { Timer } from '../env/clock.ts';
import { Pending } from '../storage/engine.ts';
import type { Entry } from '../storage/entry.ts';
import { overlapping } from '../cluster/quorum/legality.ts';
import { partitionOfDiskKey } from '../cluster/ring/token.ts';
import type { Content } from '../cluster/quorum/read.ts';
import { bits, type WriteOut } from '../cluster/quorum/write.ts';
import { type Allocate, decodeObject, decodeReplaced, encodeObject, headerOf } from '../cluster/versioning/codec.ts';
import { type Context, decodeContext } from '../cluster/versioning/context.ts';
import { MAX_LOGICAL } from '../cluster/versioning/hlc.ts';
import { newestTime } from '../cluster/versioning/newest.ts';
import { type Dot, emptyObject, type KvObject, sameDot, type Sibling } from '../cluster/versioning/object.ts';
import { operationOfAttempt } from '../cluster/versioning/attempt.ts';
import { findOperation, operationOf } from '../cluster/versioning/operation.ts';
import { type Applied, applyWrite, type Mutation, type Operation } from '../cluster/versioning/update.ts';
import type { Sink } from './answer.ts';
import { ClockTruncation } from './clock-truncation.ts';
import { contentOf, digestOf, mergeContents } from './content.ts';
import { CHECKSUM, type NodeCore } from './core.ts';
import { GatherOperation } from './gather-operation.ts';
import type { Hinted } from './hint-store.ts';
import { ObjectWritten, type Writer } from './object-written.ts';
import { fallbackSlots, type WritePlace, WriteReplication } from './write-replication.ts';
import { bodyHash, owned, remainingMs, type WriteAnswer, type WriteCommand } from './write-command.ts';

/** When to ask again where fallbacks are full. */
const FULL_RETRY_MS = 1000;

interface Gathered {
  readonly content: Content;
  /** The digest that every primary was found to have, and no hint to add to; undefined where they differ, or this was not asked. */
  readonly unanimous: string | undefined;
}

/** Where objects are encoded to be handed out: engine and transport copy within their calls, so that one place serves all writes. */
const scratch = new Uint8Array(64 * 1024);
const lend: Allocate = (size) => (size <= scratch.length ? scratch.subarray(0, size) : new Uint8Array(size));

function placeOf({ members, fallbacks }: NodeCore, { replicas, sloppy, diskKey }: WriteCommand): WritePlace {
  const own = replicas.indexOf(members.self);
  const wanted = sloppy && (own < 0 || members.healthyBits(replicas) !== (1 << replicas.length) - 1);
  const standIns = wanted ? fallbacks.ofKey(diskKey) : undefined;
  // Who sent the write here may see others as unhealthy than this node does.
  return { slot: own < 0 ? Math.max(0, standIns?.bySlot.indexOf(members.self) ?? 0) : own, standsIn: own < 0, standIns };
}

export class WriteOperation implements WriteOut, Writer {
  readonly #core: NodeCore;
  #command: WriteCommand;
  readonly #sink: Sink<WriteAnswer>;
  #context: Context | undefined;
  #operation: Operation | undefined;
  /** The dot of this write, once it has one. */
  #minted: Dot | undefined;
  #gathered: Gathered | undefined;
  #replication: WriteReplication | undefined;
  #answer: ObjectWritten | undefined;
  /** Of the partition, when what the operation knows was read; 0 where it is not under way. */
  #begun = 0;
  /** The oldest that anything in the write was read under, also by who hinted it: what is sent is as old. */
  #generation = 0;
  readonly #partition: PartitionId;
  #deadline: Timer | undefined;
  #over = false;
  #ownsBytes = false;
  readonly #place: WritePlace;
  /** Where the clock is too long. */
  #truncation: ClockTruncation | undefined;

  constructor(core: NodeCore, command: WriteCommand, sink: Sink<WriteAnswer>) {
    this.#core = core;
    this.#command = command;
    this.#sink = sink;
    this.#place = placeOf(core, command);
    this.#partition = partitionOfDiskKey(core.topology, command.diskKey);
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
    const reachable = bits(members.reachableBits(command.replicas) | fallbackSlots(this.#place));
    if (reachable < command.w) {
      const message = `${String(command.w)} replicas must take the write, and ${String(reachable)} can be reached`;
      if (this.#place.standIns?.shortOfRoom === true) {
        this.#refuse(new CoterieError('BUSY', `${message}: fallbacks hold as many hints as they may`, { retryAfterMs: FULL_RETRY_MS }));
      } else this.#refuse(new CoterieError('NO_QUORUM', message, { outcome: 'none' }));
      return;
    }
    try {
      const place = { clusterId: topology.clusterId, bucketId: command.bucket.id, key: command.key };
      if (command.context !== undefined) this.#context = decodeContext(command.context, place, CHECKSUM);
      if (command.operationId !== undefined) {
        this.#operation = policies.operation({ id: command.operationId, bodyHash: bodyHash(command) });
      } else if (command.attempt !== undefined) this.#operation = operationOfAttempt(command.attempt.id);
      this.#attempt();
    } catch (error) {
      this.#refuse(error);
    }
  }

  acknowledge(): void {
    this.#deadline?.cancel();
    // Set before the machine's first event.
    if (this.#answer === undefined) return;
    this.#answer.fallbacks = this.#replication?.fallbacks ?? 0;
    if (this.#answer.fallbacks > 0) this.#core.metrics.counts.sloppyWrites.add();
    this.#sink.succeed(this.#answer);
  }

  fail(code: ErrorCode, message: string, outcome: Outcome): void {
    this.#deadline?.cancel();
    this.#sink.fail(new CoterieError(code, message, { outcome }));
  }

  settle(): void {
    this.#deadline?.cancel();
    this.#leave();
  }

  /** Whether the value is what this write wrote. */
  isOwn(object: KvObject, sibling: Sibling): boolean {
    if (this.#minted !== undefined && sameDot(this.#minted, sibling)) return true;
    return this.#operation !== undefined && operationOf(object, sibling)?.id === this.#operation.id;
  }

  /** What was gathered under a generation that is refused by now may hold what was collected since: it is gathered anew. */
  #keepGeneration(): void {
    const { generations } = this.#core.store;
    if (this.#begun !== 0 && this.#isAdmitted()) return;
    this.#leave();
    this.#gathered = undefined;
    this.#begun = generations.begin(this.#partition);
    this.#generation = this.#begun;
  }

  /** Whether this node still takes what the operation would store. */
  #isAdmitted(): boolean {
    const { generations } = this.#core.store;
    if (this.#place.standsIn) return generations.admitsHint(this.#partition, this.#generation);
    return generations.admits(this.#partition, this.#generation);
  }

  /** Nothing of it is under way any more. */
  #leave(): void {
    if (this.#begun !== 0) this.#core.store.generations.end(this.#partition, this.#begun);
    this.#begun = 0;
  }

  /** One try of the read-modify-write; whatever is missing is awaited, then it starts over. */
  #attempt(): void {
    if (this.#over) return;
    const { leases } = this.#core;
    this.#keepGeneration();
    const nowMs = this.#core.clock.wallMs();
    const found = this.#ownCopy();
    if (found instanceof Pending) {
      this.#await((this.#place.standsIn ? this.#core.hints : this.#core.store).load(found));
      return;
    }
    let local = found === undefined ? undefined : 'kind' in found ? found.value : found.bytes;
    if (this.#gathered !== undefined) {
      const { content } = this.#gathered;
      if (content.bytes !== undefined) local = mergeContents(this.#core.policies, contentOf(local), content).bytes;
    }
    const replaces = this.#context === undefined && this.#command.kind !== 'expire';
    const object = local === undefined ? emptyObject() : (replaces ? decodeReplaced : decodeObject)(local, CHECKSUM);
    if (local !== undefined && !leases.observe(newestTime(object), nowMs)) {
      throw new CoterieError('CLOCK_SKEW', 'the key holds times too far ahead of this node’s clock', { outcome: 'none' });
    }
    if (this.#command.attempt?.second === true && !leases.observe({ ms: this.#command.attempt.latestMs, logical: MAX_LOGICAL }, nowMs)) {
      throw new CoterieError('CLOCK_SKEW', 'the first coordinator’s time may be too far ahead of this node’s clock', { outcome: 'none' });
    }
    if (!leases.ready(nowMs)) {
      this.#await(leases.renew());
      return;
    }
    if (this.#gathered === undefined && this.#gatherFirst(object, local)) return;
    this.#apply(object, local, found, nowMs);
  }

  /** The copy that this node coordinates on. @throws CoterieError DATA_DAMAGED */
  #ownCopy(): Entry | Hinted | undefined | Pending {
    const { store, hints } = this.#core;
    if (!this.#place.standsIn) return store.tryGetHeld(this.#command.diskKey);
    const hinted = hints.tryGet(this.#command.diskKey);
    if (hinted !== undefined && !(hinted instanceof Pending)) this.#generation = Math.min(this.#generation, hinted.generation);
    return hinted;
  }

  /** Whether the copies of others must be had first; then it has asked for them. */
  #gatherFirst(object: KvObject, local: Uint8Array | undefined): boolean {
    const { attempt, bucket, kind, keepTtl, replicas } = this.#command;
    const n = replicas.length;
    let need = 0;
    let thorough = false;
    if (this.#operation !== undefined && findOperation(object, this.#operation.id, this.#operation.bodyHash) === undefined) {
      if (attempt === undefined) {
        need = overlapping(n, bucket.W) - 1;
        // Of a stand-in the primary is another store, which may still answer.
        thorough = n > 1 || this.#place.standsIn;
      } else {
        // Nobody was told of the first attempt: none of the copies must be had.
        thorough = attempt.second;
      }
    }
    if (bucket.blindWrites === 'quorum' && this.#context === undefined) need = Math.max(need, bucket.R - 1);
    // What these answer depends on what is there, and this copy may have missed the latest.
    if (kind === 'expire' || keepTtl) need = Math.max(need, overlapping(n, bucket.W) - 1);
    const truncate = object.clock.length > this.#core.limits.clockEntries && kind === 'put';
    // No write waits for a primary that does not answer now: the clock would cost it its time.
    if (
      truncate &&
      !this.#place.standsIn &&
      this.#place.standIns === undefined &&
      this.#core.members.healthyBits(replicas) === (1 << n) - 1
    ) {
      if (this.#truncation === undefined) {
        this.#survey(local);
        return true;
      }
      if (this.#truncation.hintless) need = n - 1;
    }
    if (need === 0 && !thorough) return false;
    this.#ownBytes();
    this.#core.metrics.counts.gathers.add();
    const expected = local === undefined ? '' : digestOf(local);
    new GatherOperation(this.#core, {
      diskKey: this.#command.diskKey,
      replicas,
      standIns: this.#place.standIns,
      own: this.#place.slot,
      need,
      thorough,
      silent: attempt?.silent ?? 0,
      expected,
      timeoutMs: this.#remainingMs(),
      done: (content, unanimous, generation) => {
        this.#generation = Math.min(this.#generation, generation);
        this.#gathered = { content, unanimous: unanimous && this.#truncation?.hintless === true ? expected : undefined };
        this.#again();
      },
      failed: (error) => {
        this.#refuse(error);
      },
    }).start();
    return true;
  }

  #survey(local: Uint8Array | undefined): void {
    this.#ownBytes();
    this.#truncation = new ClockTruncation(this.#core, this.#command);
    this.#truncation.survey(local, this.#remainingMs(), () => {
      this.#again();
    });
  }

  /**
   * @param stored this store's copy, where `local` may hold more
   * @param nowMs the wall clock's
   */
  #apply(object: KvObject, local: Uint8Array | undefined, stored: Entry | Hinted | undefined, nowMs: number): void {
    const { clock, leases, limits, policies, metrics, standIn } = this.#core;
    const own = policies.ownCopy(local);
    const seen = own === local ? object : own === undefined ? emptyObject() : decodeObject(own, CHECKSUM);
    const applied = applyWrite(seen, policies.mutation(this.#mutation(), seen, nowMs), {
      dot: () => {
        this.#minted = this.#place.standsIn ? standIn.dot() : leases.dot();
        return this.#minted;
      },
      time: leases.time(nowMs),
      nowMs,
      clockEntries: limits.clockEntries,
      truncate: object.clock.length <= limits.clockEntries ? undefined : (held, keep) => this.#truncated(held, keep, local),
    });
    switch (applied.kind) {
      case 'refused':
        throw new CoterieError(applied.code, applied.message, { outcome: 'none' });
      case 'unchanged':
        this.#leave();
        this.#sink.succeed(this.#answerOf(applied.object, applied.existed, false));
        return;
      case 'repeated':
        metrics.counts[this.#command.attempt === undefined ? 'operationsRepeated' : 'writesFoundBegun'].add();
        break;
      case 'applied':
        this.#warn(applied);
        break;
    }
    const { attempt } = this.#command;
    if (attempt !== undefined) {
      // Read after the time that the write has: what another coordinator has made of it since is then the later, if clocks agree.
      const isLate = clock.monotonicMs() > attempt.beginByMs;
      const isAhead = this.#minted !== undefined && !attempt.second && (applied.object.blindFloor?.time.ms ?? 0) > attempt.latestMs;
      if (!policies.begins(isLate || isAhead)) {
        if (isLate) metrics.counts.writesTooLate.add();
        throw isLate
          ? new CoterieError('CANCELLED', 'the write came so late that another coordinator may have it', { outcome: 'none' })
          : new CoterieError('CLOCK_SKEW', 'the write would be later than what another coordinator may make of it', { outcome: 'none' });
      }
    }
    metrics.counts.coordinated.add();
    if (this.#place.standsIn) metrics.counts.stoodIn.add();
    this.#replicate(applied.object, applied.existed, stored);
  }

  /** @param local the copy that all primaries must have for an entry to go */
  #truncated(held: KvObject, keep: number, local: Uint8Array | undefined): KvObject {
    const confirmed = local !== undefined && this.#gathered?.unanimous === digestOf(local);
    this.#truncation ??= new ClockTruncation(this.#core, this.#command);
    return this.#truncation.truncated(held, keep, confirmed);
  }

  #mutation(): Mutation {
    const { kind, value, expireAtMs, keepTtl } = this.#command;
    const context = this.#context;
    const operation = this.#operation;
    switch (kind) {
      case 'put':
        return { context, operation, kind, value, expireAtMs, keepTtl };
      case 'delete':
        return { context, operation, kind };
      case 'expire':
        return { context, operation, kind, atMs: expireAtMs };
    }
  }

  #replicate(object: KvObject, existed: boolean, stored: Entry | Hinted | undefined): void {
    this.#answer = this.#answerOf(object, existed, true);
    this.#replication = new WriteReplication(this.#core, this.#command, this.#place, this.#generation, this);
    this.#replication.start(encodeObject(object, CHECKSUM, lend), headerOf(object), stored);
    if (!this.#replication.answered) this.#armDeadline();
  }

  #answerOf(object: KvObject, existed: boolean, changed: boolean): ObjectWritten {
    return new ObjectWritten(this.#core, this.#command, object, existed, changed, this);
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
    this.#deadline ??= this.#core.wheel.at(this.#command.dueMs, () => {
      if (this.#replication !== undefined) this.#replication.timedOut();
      else this.#refuse(new CoterieError('TIMEOUT', 'the write could not begin in time', { outcome: 'none' }));
    });
  }

  /** Fails before any effect. */
  #refuse(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadline?.cancel();
    this.#leave();
    const coded = asCoterieError(error);
    if (coded.code === 'INTERNAL') throw error;
    const { code, message, retryAfterMs } = coded;
    this.#sink.fail(
      new CoterieError(code, message, { outcome: 'none', ...(retryAfterMs === undefined ? {} : { retryAfterMs }), cause: coded.cause }),
    );
  }

  #remainingMs(): number {
    return remainingMs(this.#command, this.#core.clock.monotonicMs());
  }
}
