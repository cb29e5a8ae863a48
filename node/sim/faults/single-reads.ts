/**
 * Reads that one replica answers, though it has lost what it had: keys that nobody else touches are written to all N replicas, and read with R = 1 at a
 * member whose disk has rotted or is a new one. R + W > N, so that each read must show what was acknowledged; and no other replica is asked that would
 * make up for what this one says, so that a copy which damage took must be answered as unknown, and a store counts for nothing while it is blank.
 */

import { type Client, type ClientParts, readAt } from '../clients/client.ts';
import type { Machine } from '../machine.ts';

/** How many times a memtable's bytes each replica is given: most of the keys then lie in tables. */
const MEMTABLES = 2;
const VALUES_PER_MEMTABLE = 8;
const WATCH_MS = 20;
/** A new disk is filled within moments. */
const WATCH_BLANK_MS = 2;
const TIMEOUT_MS = 1000;

export class SingleReads {
  readonly #parts: ClientParts;
  readonly #client: Client;
  /** By member, after which start and which decay its copies were read. */
  readonly #done = new Map<Machine, string>();

  constructor(parts: ClientParts, client: Client) {
    this.#parts = parts;
    this.#client = client;
  }

  async run(until: () => boolean): Promise<void> {
    const { world, plan, machines } = this.#parts;
    const count = Math.ceil((MEMTABLES * VALUES_PER_MEMTABLE * machines.length) / plan.n);
    const keys = Array.from({ length: count }, (_, at) => `single-${String(at)}`);
    for (const key of keys) {
      if (until()) return;
      await this.#client.putAtAll(key, plan.memtableBytes / VALUES_PER_MEMTABLE);
    }
    while (!until()) {
      for (const machine of machines) if (this.#isDue(machine)) await this.#readAll(machine, keys, until);
      await world.sleep(machines.some(({ impaired }) => impaired === 'lost') ? WATCH_BLANK_MS : WATCH_MS);
    }
  }

  /** Bits have rotted, or the node has started over them or over an empty disk, since its copies were last read. */
  #isDue(machine: Machine): boolean {
    const { impaired } = machine;
    const answers = impaired === 'lost' ? machine.node !== undefined : impaired === 'rotten' && machine.whole;
    return answers && this.#done.get(machine) !== this.#momentOf(machine);
  }

  #momentOf({ boots, rotted }: Machine): string {
    return `${String(boots)} ${String(rotted)}`;
  }

  async #readAll(machine: Machine, keys: readonly string[], until: () => boolean): Promise<void> {
    const { coverage } = this.#parts;
    this.#done.set(machine, this.#momentOf(machine));
    for (const key of keys) {
      if (until() || !machine.up) return;
      const before = damagedReads(machine);
      const reply = await readAt(this.#parts, machine, key, { r: 1, quorum: 'strict', timeoutMs: TIMEOUT_MS });
      if (reply.kind !== 'answer') continue;
      if (damagedReads(machine) > before) coverage.add('reads of one replica over damage');
      if (isBlank(machine)) coverage.add('reads at a blank replica');
    }
  }
}

/** It does not have what it had yet. */
function isBlank({ impaired, node }: Machine): boolean {
  return impaired === 'lost' && node?.stats().synchronisation.synchronised === false;
}

function damagedReads({ node }: Machine): number {
  return node?.stats().counters['damagedReads'] ?? 0;
}
