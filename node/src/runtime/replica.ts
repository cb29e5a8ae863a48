/**
 * This node as a replica, as a fallback, and as a coordinator for others: answers the requests of peers.
 *
 * Invariants: a write is acknowledged only when it is durable; a copy that is damaged is answered with DATA_DAMAGED, never as absent; a store
 * that does not count says so in every answer; keys of partitions that this node is no primary of are refused.
 */

import type { ByteString } from '../base/bytes.ts';
import { CoterieError } from '../base/errors.ts';
import { bucketOfDiskKey, partitionOfDiskKey, placeKey } from '../cluster/ring/token.ts';
import { primaries } from '../cluster/ring/preference.ts';
import { readDigest } from '../cluster/versioning/codec.ts';
import { type CoordinateMessage, decodeCoordinate, encodeCoordinateAnswer } from '../transport/messages/coordinate.ts';
import { decodeHint, encodeHinted } from '../transport/messages/hint.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import { decodeReadRequest, decodeWriteRequest } from '../transport/messages/replica.ts';
import type { IncomingRequest } from '../transport/request.ts';
import type { Sink } from './answer.ts';
import type { NodeCore } from './core.ts';
import { StrongWriteOperation } from './strong-write-operation.ts';
import type { WriteAnswer, WriteCommand } from './write-command.ts';
import { WriteOperation } from './write-operation.ts';

export class Replica {
  readonly #core: NodeCore;
  /** Requests begun and not answered. */
  #underWay = 0;

  constructor(core: NodeCore) {
    this.#core = core;
  }

  get underWay(): number {
    return this.#underWay;
  }

  serve(): void {
    const { transport } = this.#core;
    transport.handle(MESSAGE.readValue, (request) => {
      this.admit(request, false, this.#readValue);
    });
    transport.handle(MESSAGE.readDigest, (request) => {
      this.admit(request, false, this.#readDigest);
    });
    transport.handle(MESSAGE.write, (request) => {
      this.admit(request, false, this.#write);
    });
    transport.handle(MESSAGE.hint, (request) => {
      this.admit(request, false, this.#hint);
    });
    transport.handle(MESSAGE.readHint, (request) => {
      this.admit(request, false, this.#readHint);
    });
    transport.handle(MESSAGE.coordinate, (request) => {
      this.admit(request, true, this.#coordinate);
    });
  }

  /** Refuses, undecoded, what there is no room or no time for. `handle` calls `ended` once it has answered. */
  admit(request: IncomingRequest, forwarded: boolean, handle: (request: IncomingRequest, ended: () => void) => void): void {
    const { limits, metrics, admission } = this.#core;
    if (this.#underWay >= limits.peerRequests || !admission.admitsPeer(forwarded)) {
      metrics.counts.replicaRefusals.add();
      metrics.counts.peersRefused.add();
      request.fail('BUSY', 'this node has more to do than it can answer in time', 'none');
      return;
    }
    this.#underWay += 1;
    let open = true;
    const ended = (): void => {
      if (open) this.#underWay -= 1;
      open = false;
    };
    try {
      handle(request, ended);
    } catch (error) {
      ended();
      throw error;
    }
  }

  readonly #readValue = (request: IncomingRequest, ended: () => void): void => {
    const { encoder, standing } = this.#core;
    this.#read(request, ended, (bytes) => encoder.valueReply(bytes, standing.countsInReads()));
  };

  readonly #readDigest = (request: IncomingRequest, ended: () => void): void => {
    const { encoder, standing } = this.#core;
    this.#read(request, ended, (bytes) => {
      const digest = bytes === undefined ? undefined : readDigest(bytes);
      return encoder.digestReply(digest, standing.countsInReads());
    });
  };

  #read(request: IncomingRequest, ended: () => void, encode: (bytes: Uint8Array | undefined) => Uint8Array): void {
    const { store, metrics } = this.#core;
    metrics.counts.replicaReads.add();
    const key = this.ownKey(request, ended, decodeReadRequest(request.payload));
    if (key === undefined) return;
    store.read(
      key,
      (bytes) => {
        request.reply(encode(bytes));
        ended();
      },
      (error) => {
        if (error.code === 'DATA_DAMAGED') metrics.counts.damagedReads.add();
        this.fail(request, error);
        ended();
      },
    );
  }

  readonly #write = (request: IncomingRequest, ended: () => void): void => {
    const { topology, store, standing, encoder, metrics } = this.#core;
    metrics.counts.replicaWrites.add();
    const { key, object, generation } = decodeWriteRequest(request.payload);
    if (this.ownKey(request, ended, key) === undefined) return;
    if (!standing.synchronised && generation > store.generations.of(partitionOfDiskKey(topology, key))) {
      // What this store has may be from before a collection, and then goes: nothing new may go with it.
      const message = 'this store has yet to learn what was collected while it was away';
      this.fail(request, new CoterieError('NOT_SYNCHRONISED', message, { outcome: 'none' }));
      ended();
      return;
    }
    store.merge(key, object, generation, (error) => {
      if (error?.code === 'GENERATION_STALE') metrics.counts.generationsRefused.add();
      if (error === undefined) request.reply(encoder.writeReply());
      else this.fail(request, error);
      ended();
    });
  };

  /** A coordinator asks this node to stand in for a primary that is away. */
  readonly #hint = (request: IncomingRequest, ended: () => void): void => {
    const { topology, members, hints, metrics, encoder } = this.#core;
    const { slot, key, object, w, generation } = decodeHint(request.payload);
    if (this.#refusesHints(request, ended)) return;
    const replicas = primaries(topology, partitionOfDiskKey(topology, key));
    if (replicas.includes(members.self) || slot >= replicas.length || w < 1 || w > replicas.length) {
      const why = 'it is a primary of the key itself, or the slot or W is out of range';
      this.fail(request, new CoterieError('REQUEST_INVALID', `this node cannot keep the hint: ${why}`, { outcome: 'none' }));
      ended();
      return;
    }
    hints.merge(slot, key, object, w, generation, (error) => {
      metrics.counts[error === undefined ? 'hintsTaken' : 'hintsRefused'].add();
      if (error === undefined) request.reply(encoder.writeReply());
      else this.fail(request, error);
      ended();
    });
  };

  /** While it is not known which hints were outlived, none is told of, and none taken. */
  #refusesHints(request: IncomingRequest, ended: () => void): boolean {
    if (this.#core.standing.knowsHints) return false;
    const message = 'this store has yet to learn what was collected while it was away';
    this.fail(request, new CoterieError('NOT_SYNCHRONISED', message, { outcome: 'none' }));
    ended();
    return true;
  }

  readonly #readHint = (request: IncomingRequest, ended: () => void): void => {
    const { hints } = this.#core;
    if (this.#refusesHints(request, ended)) return;
    hints.read(
      decodeReadRequest(request.payload),
      (hinted) => {
        request.reply(encodeHinted(hinted === undefined ? undefined : { object: hinted.bytes, generation: hinted.generation }));
        ended();
      },
      (error) => {
        this.fail(request, error);
        ended();
      },
    );
  };

  readonly #coordinate = (request: IncomingRequest, ended: () => void): void => {
    const { topology, members, clock } = this.#core;
    const message = decodeCoordinate(request.payload);
    const { bucket, key, kind, value, expireAtMs, keepTtl, w, context, operationId, sloppy } = message;
    const definition = topology.buckets.find((candidate) => candidate.id === bucket);
    if (definition === undefined) {
      request.fail('BUCKET_UNKNOWN', `there is no bucket ${String(bucket)}`, 'none');
      ended();
      return;
    }
    const { diskKey, partition } = placeKey(topology, definition.id, key);
    const replicas = primaries(topology, partition);
    const standsIn = sloppy && definition.consistency === 'eventual';
    if ((!standsIn && !replicas.includes(members.self)) || w < 1 || w > replicas.length) {
      request.fail('REQUEST_INVALID', 'this node cannot coordinate the write: it is no primary of the key, or W is out of range', 'none');
      ended();
      return;
    }
    const command: WriteCommand = {
      bucket: definition,
      key,
      diskKey,
      replicas,
      kind,
      value,
      expireAtMs,
      keepTtl,
      w,
      context,
      operationId,
      dueMs: clock.monotonicMs() + request.remainingMs,
      sloppy,
      ...attemptOf(message, request.sentMs),
    };
    const sink: Sink<WriteAnswer> = {
      succeed: (answer) => {
        request.reply(encodeCoordinateAnswer(answer));
        ended();
      },
      fail: (error) => {
        this.fail(request, error);
        ended();
      },
    };
    const operation =
      definition.consistency === 'strong'
        ? new StrongWriteOperation(this.#core, command, sink)
        : new WriteOperation(this.#core, command, sink);
    operation.start();
  };

  /** The key, where this node is a primary of it; else the request has been refused. */
  ownKey(request: IncomingRequest, ended: () => void, key: ByteString): ByteString | undefined {
    const { topology, members } = this.#core;
    if (primaries(topology, partitionOfDiskKey(topology, key)).includes(members.self)) return key;
    const bucket = bucketOfDiskKey(key);
    this.fail(request, new CoterieError('REQUEST_INVALID', `no primary of this key of bucket ${String(bucket)}`, { outcome: 'none' }));
    ended();
    return undefined;
  }

  /** Answers a request with its failure. */
  fail(request: IncomingRequest, error: CoterieError): void {
    this.#core.metrics.counts.replicaRefusals.add();
    request.fail(error.code, error.message, error.outcome ?? 'unknown');
  }
}

/** @param sentMs when the request was sent */
function attemptOf({ attempt, beginWithinMs, second, latestMs, silent }: CoordinateMessage, sentMs: number): Pick<WriteCommand, 'attempt'> {
  return attempt === 0 ? {} : { attempt: { id: attempt, beginByMs: sentMs + beginWithinMs, second, latestMs, silent } };
}
