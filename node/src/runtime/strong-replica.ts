/** This node as a replica of strong keys: answers what their coordinators ask (runtime/registers.ts). What they store comes as any other write. */

import type { ByteString } from '../base/bytes.ts';
import type { CoterieError } from '../base/errors.ts';
import { MESSAGE } from '../transport/messages/message-type.ts';
import {
  decodeStrongAccept,
  decodeStrongPrepare,
  decodeStrongRead,
  encodeStrongAcceptAnswer,
  encodeStrongPrepareAnswer,
  encodeStrongReadAnswer,
} from '../transport/messages/strong.ts';
import type { IncomingRequest } from '../transport/request.ts';
import type { NodeCore } from './core.ts';
import type { Replica } from './replica.ts';

export class StrongReplica {
  readonly #core: NodeCore;
  readonly #replica: Replica;

  /** @param replica admits requests and knows which keys are this node's */
  constructor(core: NodeCore, replica: Replica) {
    this.#core = core;
    this.#replica = replica;
  }

  serve(): void {
    const { transport } = this.#core;
    transport.handle(MESSAGE.strongRead, (request) => {
      this.#replica.admit(request, false, this.#read);
    });
    transport.handle(MESSAGE.strongPrepare, (request) => {
      this.#replica.admit(request, false, this.#prepare);
    });
    transport.handle(MESSAGE.strongAccept, (request) => {
      this.#replica.admit(request, false, this.#accept);
    });
  }

  readonly #read = (request: IncomingRequest, ended: () => void): void => {
    const { registers, metrics } = this.#core;
    metrics.counts.replicaReads.add();
    const { key, value, durable } = decodeStrongRead(request.payload);
    if (!this.#owns(request, ended, key)) return;
    registers.read(
      key,
      durable,
      (held, bytes) => {
        request.reply(encodeStrongReadAnswer({ ...held, object: value ? bytes : undefined }));
        ended();
      },
      this.#failing(request, ended),
    );
  };

  readonly #prepare = (request: IncomingRequest, ended: () => void): void => {
    const { registers, metrics } = this.#core;
    metrics.counts.replicaReads.add();
    const { key, id, ballot } = decodeStrongPrepare(request.payload);
    if (!this.#owns(request, ended, key)) return;
    registers.prepare(
      key,
      id,
      ballot,
      (promised) => {
        request.reply(encodeStrongPrepareAnswer(promised));
        ended();
      },
      this.#failing(request, ended),
    );
  };

  readonly #accept = (request: IncomingRequest, ended: () => void): void => {
    const { registers, metrics } = this.#core;
    metrics.counts.replicaWrites.add();
    const { key, record } = decodeStrongAccept(request.payload);
    if (!this.#owns(request, ended, key)) return;
    registers.accept(
      key,
      record,
      (accepted) => {
        request.reply(encodeStrongAcceptAnswer(accepted));
        ended();
      },
      this.#failing(request, ended),
    );
  };

  #owns(request: IncomingRequest, ended: () => void, key: ByteString): boolean {
    return this.#replica.ownKey(request, ended, key) !== undefined;
  }

  #failing(request: IncomingRequest, ended: () => void): (error: CoterieError) => void {
    return (error) => {
      if (error.code === 'DATA_DAMAGED') this.#core.metrics.counts.damagedReads.add();
      this.#replica.fail(request, error);
      ended();
    };
  }
}
