/** The members of the topology as this node reaches them, by their index. */

import type { Topology } from '../cluster/ring/topology.ts';
import { bits } from '../cluster/quorum/write.ts';
import type { MemberState } from './kv.ts';

export class Members {
  readonly topology: Topology;
  readonly self: number;
  /** Names by index. */
  readonly names: readonly string[];
  readonly #indexes: ReadonlyMap<string, number>;
  /** 1 where requests pass now; this node itself included. */
  readonly #reachable: Uint8Array;
  #turn = 0;

  constructor(topology: Topology, self: string) {
    this.topology = topology;
    this.names = topology.members.map((member) => member.name);
    this.#indexes = new Map(this.names.map((name, index) => [name, index]));
    this.self = this.indexOf(self);
    this.#reachable = new Uint8Array(this.names.length);
    this.#reachable[this.self] = 1;
  }

  /** -1 where there is no such member. */
  indexOf(name: string): number {
    return this.#indexes.get(name) ?? -1;
  }

  nameOf(index: number): string {
    return this.names[index] ?? '';
  }

  setReachable(name: string, reachable: boolean): void {
    const index = this.indexOf(name);
    if (index >= 0 && index !== this.self) this.#reachable[index] = reachable ? 1 : 0;
  }

  isReachable(index: number): boolean {
    return this.#reachable[index] === 1;
  }

  /** Which of the replicas can be asked now, as bits by position in the list. */
  reachableBits(replicas: readonly number[]): number {
    let mask = 0;
    for (let i = 0; i < replicas.length; i += 1) if (this.#reachable[replicas[i] ?? -1] === 1) mask |= 1 << i;
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
    return index === this.self ? 'self' : this.isReachable(index) ? 'connected' : 'unreachable';
  }
}
