/**
 * Messages that come late, across the collecting of what they are about: a direction between two members takes up to seconds, while all others are
 * quick. Through it a member reads keys that are deleted at once: it holds the value, waits for the answer of the replica behind the slow direction,
 * which by then has the delete, or has collected it, and repairs it with what it holds. Nobody else touches these keys, so that what comes
 * back is seen.
 */

import { type Client, type ClientParts, LATE_KEYS, readAt } from '../clients/client.ts';
import type { Machine } from '../machine.ts';
import type { Dice } from '../world/dice.ts';
import type { SimNetwork } from '../world/network.ts';

/** Longer than the slowest answer and the repair that follows it. */
const READ_TIMEOUT_MS = 10_000;
/** Partitions whose rounds neither of the two members leads are among so many keys. */
const KEYS_AT_ONCE = 6;
const TIMES = 6;

export class Stragglers {
  readonly #parts: ClientParts;
  readonly #network: SimNetwork;
  readonly #client: Client;
  readonly #dice: Dice;

  constructor(parts: ClientParts, network: SimNetwork, client: Client) {
    this.#parts = parts;
    this.#network = network;
    this.#client = client;
    this.#dice = parts.world.dice.fork();
  }

  async run(until: () => boolean): Promise<void> {
    const { machines } = this.#parts;
    for (let time = 0; time < TIMES && !until(); time += 1) {
      const [reader, behind] = this.#dice.shuffled(machines);
      if (reader === undefined || behind === undefined) return;
      const link = this.#network.link(reader.name, behind.name);
      const { delayUs } = link;
      link.delayUs = this.#dice.between(400, 1500) * 1000;
      const keys = Array.from({ length: KEYS_AT_ONCE }, (_, at) => `${LATE_KEYS}${String(time)}-${String(at)}`);
      await Promise.all(keys.map((key) => this.#straggle(key, reader)));
      link.delayUs = delayUs;
    }
  }

  async #straggle(key: string, reader: Machine): Promise<void> {
    const { world, plan, machines, coverage } = this.#parts;
    await this.#client.put(key);
    const reading = readAt(this.#parts, reader, key, { r: plan.n, quorum: 'strict', timeoutMs: READ_TIMEOUT_MS });
    await world.sleep(this.#dice.between(1, 20));
    await this.#client.remove(key);
    await reading;
    // What was repaired is on its way.
    await world.sleep(2000);
    for (const machine of machines) await readAt(this.#parts, machine, key, { r: plan.n, quorum: 'strict', timeoutMs: READ_TIMEOUT_MS });
    coverage.add('keys read across a slow direction');
  }
}
