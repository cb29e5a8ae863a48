/**
 * Keys whose primaries are cut off one after the other, each before the next writes: the clock of such a key gets an entry for each of them, more than
 * the plan lets it keep, and every primary that was cut off comes back with a copy that is older than the others', by one writer or by several.
 */

import { bucketId } from '../../src/base/ids.ts';
import { primaries } from '../../src/cluster/ring/preference.ts';
import { placeKey } from '../../src/cluster/ring/token.ts';
import { type Client, readAt } from '../clients/client.ts';
import type { Machine } from '../machine.ts';
import { Dice } from '../world/dice.ts';
import { type CutParts, cutOff, NOTICED_MS } from './cut-off.ts';

const STREAM = 0x7375;
const TIMES = 2;
/** More than one: a coordinator that has replaced only what others wrote cannot forget those others yet. */
const WRITES_EACH = 3;
/** About how long those that were cut off take to be in touch again. */
const BACK_MS = 1500;
const WRITES_AFTER = 3;
const TIMEOUT_MS = 1000;

export class Successions {
  readonly #parts: CutParts;
  readonly #client: Client;
  readonly #dice: Dice;

  constructor(parts: CutParts, client: Client) {
    this.#parts = parts;
    this.#client = client;
    this.#dice = new Dice(parts.plan.seed, STREAM);
  }

  async run(): Promise<void> {
    for (let time = 0; time < TIMES && !this.#parts.world.ended; time += 1) await this.#succeed(`succession-${String(time)}`);
  }

  async #succeed(key: string): Promise<void> {
    const { world, plan, network, topology, machines, coverage } = this.#parts;
    const { partition } = placeKey(topology, bucketId(0), key);
    const order = primaries(topology, partition).flatMap((index) => machines[index] ?? []);
    const last = order.pop();
    if (last === undefined) return;
    const sloppy = plan.quorums === 'mixed' && this.#dice.oneIn(3);
    const write = (at: Machine, w: number): Promise<void> => this.#client.putOver(key, at, { w, sloppy });
    await write(last, plan.w);
    const joins: (() => void)[] = [];
    for (const member of order) {
      joins.push(cutOff(network, [member], machines));
      await world.sleep(NOTICED_MS);
      for (let done = 0; done < WRITES_EACH; done += 1) await write(last, 1);
    }
    for (const join of joins) join();
    await world.sleep(BACK_MS);
    await this.#readAtAll(key);
    for (let done = 0; done < WRITES_AFTER; done += 1) {
      await write(this.#dice.pick(machines), plan.w);
      await world.sleep(this.#dice.between(10, 500));
    }
    await this.#readAtAll(key);
    coverage.add('successions of coordinators');
  }

  async #readAtAll(key: string): Promise<void> {
    const { machines, plan } = this.#parts;
    for (const machine of machines) await readAt(this.#parts, machine, key, { r: plan.n, quorum: 'strict', timeoutMs: TIMEOUT_MS });
  }
}
