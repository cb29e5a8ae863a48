/**
 * The members of the topology as this node may use them, by their index.
 *
 * - *reachable*: a connection stands, so that requests pass.
 * - *avoided*: slow or silent to this node. This node's own routing decision: others are preferred to it, and it is still sent what is its own.
 * - *down*: the cluster's verdict. Only this permits not to send.
 * - *healthy*: reachable, not avoided, not down.
 *
 * Invariants: this node itself is always healthy; observers run after the change that they are told of.
 */

import type { Topology } from '../cluster/ring/topology.ts';
import { bits } from '../cluster/quorum/write.ts';
import type { MemberState } from './kv.ts';

const REACHABLE = 1;
const AVOIDED = 2;
const DOWN = 4;

export class Members {
  readonly topology: Topology;
  readonly self: number;
  /** Names by index. */
  readonly names: readonly string[];
  readonly #indexes: ReadonlyMap<string, number>;
  /** REACHABLE, AVOIDED and DOWN as bits. */
  readonly #health: Uint8Array;
  readonly #observers: ((index: number) => void)[] = [];
  #turn = 0;

  constructor(topology: Topology, self: string) {
    this.topology = topology;
    this.names = topology.members.map((member) => member.name);
    this.#indexes = new Map(this.names.map((name, index) => [name, index]));
    this.self = this.indexOf(self);
    this.#health = new Uint8Array(this.names.length);
    this.#health[this.self] = REACHABLE;
  }

  /** -1 where there is no such member. */
  indexOf(name: string): number {
    return this.#indexes.get(name) ?? -1;
  }

  nameOf(index: number): string {
    return this.names[index] ?? '';
  }

  setReachable(name: string, reachable: boolean): void {
    this.#set(this.indexOf(name), REACHABLE, reachable);
  }

  setAvoided(index: number, avoided: boolean): void {
    this.#set(index, AVOIDED, avoided);
  }

  setDown(index: number, down: boolean): void {
    this.#set(index, DOWN, down);
  }

  isReachable(index: number): boolean {
    return ((this.#health[index] ?? 0) & REACHABLE) !== 0;
  }

  isAvoided(index: number): boolean {
    return ((this.#health[index] ?? 0) & AVOIDED) !== 0;
  }

  isDown(index: number): boolean {
    return ((this.#health[index] ?? 0) & DOWN) !== 0;
  }

  isHealthy(index: number): boolean {
    return this.#health[index] === REACHABLE;
  }

  /** Hears of every change of a member: it became or ceased to be reachable, avoided or down. */
  onChange(observer: (index: number) => void): void {
    this.#observers.push(observer);
  }

  /** Which of the replicas can be asked now, as bits by position in the list. */
  reachableBits(replicas: readonly number[]): number {
    let mask = 0;
    for (let i = 0; i < replicas.length; i += 1) if (this.isReachable(replicas[i] ?? -1)) mask |= 1 << i;
    return mask;
  }

  /** Which of the replicas are healthy, as bits by position in the list. */
  healthyBits(replicas: readonly number[]): number {
    let mask = 0;
    for (let i = 0; i < replicas.length; i += 1) if (this.isHealthy(replicas[i] ?? -1)) mask |= 1 << i;
    return mask;
  }

  /** One of the replicas in `mask`, each in turn: so that no replica is read more than others. 0 where there is none. */
  pick(mask: number): number {
    this.#turn = (this.#turn + 1) % 5040;
    let rest = this.#turn % Math.max(1, bits(mask));
    for (let i = 0; mask >>> i !== 0; i += 1) {
      if ((mask & (1 << i)) === 0) continue;
      if (rest === 0) return i;
      rest -= 1;
    }
    return 0;
  }

  state(index: number): MemberState {
    if (index === this.self) return 'self';
    if (this.isDown(index)) return 'down';
    if (!this.isReachable(index)) return 'unreachable';
    return this.isAvoided(index) ? 'avoided' : 'connected';
  }

  #set(index: number, bit: number, on: boolean): void {
    if (index < 0 || index === this.self) return;
    const before = this.#health[index] ?? 0;
    const after = on ? before | bit : before & ~bit;
    if (after === before) return;
    this.#health[index] = after;
    for (const observer of this.#observers) observer(index);
  }
}
