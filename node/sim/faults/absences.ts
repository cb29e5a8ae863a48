/**
 * Keys all of whose primaries are cut off, twice, and a fallback coordinates their writes meanwhile: one in the first absence, which it hands off and
 * drops, and one in the second, by another client that knows of nothing but the time before. Both must be there in the end.
 */

import { bucketId } from '../../src/base/ids.ts';
import { primaries } from '../../src/cluster/ring/preference.ts';
import { placeKey } from '../../src/cluster/ring/token.ts';
import type { Client } from '../clients/client.ts';
import type { Machine } from '../machine.ts';
import { Dice } from '../world/dice.ts';
import { type CutParts, cutOff, NOTICED_MS } from './cut-off.ts';

const STREAM = 0x6162;
const TIMES = 2;
/** How long a fallback may take to hand off what it keeps. */
const HANDED_OFF_MS = 6000;

export class Absences {
  readonly #parts: CutParts;
  readonly #one: Client;
  readonly #other: Client;
  readonly #dice: Dice;

  constructor(parts: CutParts, one: Client, other: Client) {
    this.#parts = parts;
    this.#one = one;
    this.#other = other;
    this.#dice = new Dice(parts.plan.seed, STREAM);
  }

  async run(): Promise<void> {
    for (let time = 0; time < TIMES && !this.#parts.world.ended; time += 1) await this.#absent(`absence-${String(time)}`);
  }

  async #absent(key: string): Promise<void> {
    const { topology, machines, plan } = this.#parts;
    const { partition } = placeKey(topology, bucketId(0), key);
    const slots = primaries(topology, partition);
    const away = machines.filter((_, index) => slots.includes(index));
    const fallback = this.#dice.pick(machines.filter((machine) => !away.includes(machine)));
    await this.#one.putAtAll(key, plan.valueBytes);
    await this.#other.learn(key, this.#dice.pick(machines));
    const asked = { w: plan.coveredW, sloppy: true };
    await this.#without(away, () => this.#one.putOver(key, fallback, asked));
    await this.#handedOff();
    await this.#without(away, () => this.#other.putOver(key, fallback, asked));
    await this.#handedOff();
    this.#parts.coverage.add('absences of all primaries');
  }

  async #without(away: readonly Machine[], act: () => Promise<void>): Promise<void> {
    const { network, machines, world } = this.#parts;
    const join = cutOff(network, away, machines);
    await world.sleep(NOTICED_MS);
    await act();
    join();
  }

  async #handedOff(): Promise<void> {
    const { machines, world } = this.#parts;
    const untilUs = world.nowUs + HANDED_OFF_MS * 1000;
    do await world.sleep(100);
    while (!world.ended && world.nowUs < untilUs && !machines.every((machine) => machine.handedOff));
  }
}
