/**
 * Many failure detectors in virtual time, and a network of datagrams between them: the shipped pure part (and its encoding where bytes are counted),
 * without the rest of a node. What a process does beside it is left out: connections, disks, data.
 *
 * Invariants: the same seed gives the same history; a node knows its own clock only, which began at a time of its own; a paused node's messages
 * and timers wait for it, as those of a stopped process do.
 */

import { storeId } from '../../src/base/ids.ts';
import { detectorStep, type DetectorEvent, type DetectorOut } from '../../src/cluster/membership/detector.ts';
import { type Detector, newDetector } from '../../src/cluster/membership/detector-state.ts';
import type { Gossip } from '../../src/cluster/membership/gossip.ts';
import { HEADER_BYTES } from '../../src/transport/frame.ts';
import { decodeGossip, encodeGossip } from '../../src/transport/messages/gossip.ts';
import type { Dice } from '../world/dice.ts';
import { Agenda, type Happening } from './agenda.ts';

export interface ClusterSettings {
  readonly nodes: number;
  readonly zones: number;
  /** The chance that a message is lost. */
  readonly loss: number;
  /** One way between two nodes, in ms: at least, and at most so much more. */
  readonly delayMs: number;
  readonly jitterMs: number;
  /** Messages are encoded and decoded, and their bytes counted. */
  readonly encoded: boolean;
  /** A node has found a member DOWN. */
  readonly onDown: (by: number, member: number, observers: readonly number[]) => void;
}

class SimulatedNode {
  readonly position: number;
  /** Its own clock minus virtual time, in ms. */
  readonly offsetMs: number;
  detector: Detector;
  alive = true;
  pausedUntilMs = 0;
  lives = 1;
  /** When its next tick is on the agenda, in its own time. */
  armedMs = Infinity;
  bytesSent = 0;
  bytesReceived = 0;

  constructor(position: number, offsetMs: number, detector: Detector) {
    this.position = position;
    this.offsetMs = offsetMs;
    this.detector = detector;
  }
}

/** Incarnations of a life begin above all that the one before took to refute. */
const LIFE = 2 ** 16;

export class DetectorCluster {
  readonly nodes: readonly SimulatedNode[];
  readonly #settings: ClusterSettings;
  readonly #dice: Dice;
  readonly #agenda = new Agenda();
  nowMs = 0;
  messages = 0;
  accusations = 0;
  refutations = 0;
  downs = 0;
  ups = 0;
  avoided = 0;

  constructor(settings: ClusterSettings, dice: Dice) {
    this.#settings = settings;
    this.#dice = dice;
    this.nodes = Array.from({ length: settings.nodes }, (_, position) => {
      const offsetMs = dice.below(1_000_000_000);
      return new SimulatedNode(position, offsetMs, this.#detector(position, offsetMs, 1));
    });
    for (const node of this.nodes) this.#arm(node);
  }

  #detector(position: number, offsetMs: number, life: number): Detector {
    const { nodes, zones } = this.#settings;
    const dice = this.#dice.fork();
    return newDetector(
      {
        self: position,
        zones: Array.from({ length: nodes }, (_, member) => member % zones),
        incarnation: life * LIFE,
        store: storeId(position.toString(16).padStart(32, '0')),
        epoch: 1,
        random: () => dice.u32(),
        observersNeeded: 2,
        accuses: (probed) => probed,
      },
      this.nowMs + offsetMs,
    );
  }

  /** Lets so much time pass. */
  run(ms: number): void {
    this.runUntil(() => false, ms);
  }

  /** Lets time pass until `over`, asked after everything that happens, or for so long; answers whether it was over. */
  runUntil(over: () => boolean, withinMs: number): boolean {
    const endMs = this.nowMs + withinMs;
    for (;;) {
      const next = this.#agenda.peekMs();
      if (next > endMs) {
        this.nowMs = endMs;
        return over();
      }
      const happening = this.#agenda.pop();
      if (happening === undefined) return over();
      this.nowMs = happening.atMs;
      if (this.#happen(happening) && over()) return true;
    }
  }

  crash(position: number): void {
    const node = this.#node(position);
    node.alive = false;
    node.armedMs = Infinity;
  }

  restart(position: number): void {
    const node = this.#node(position);
    node.lives += 1;
    node.alive = true;
    node.pausedUntilMs = 0;
    node.detector = this.#detector(position, node.offsetMs, node.lives);
    this.#arm(node);
  }

  pause(position: number, ms: number): void {
    this.#node(position).pausedUntilMs = this.nowMs + ms;
  }

  /** The living nodes that hold the member for DOWN. */
  downAt(member: number): number {
    let count = 0;
    for (const node of this.nodes) if (node.alive && node.position !== member && node.detector.verdicts.has(member)) count += 1;
    return count;
  }

  forgetBytes(): void {
    for (const node of this.nodes) {
      node.bytesSent = 0;
      node.bytesReceived = 0;
    }
  }

  #node(position: number): SimulatedNode {
    const node = this.nodes[position];
    if (node === undefined) throw new Error(`no node ${String(position)}`);
    return node;
  }

  /** False where nothing could change. */
  #happen(happening: Happening): boolean {
    const node = this.#node(happening.node);
    if (!node.alive) return false;
    if (node.pausedUntilMs > happening.atMs) {
      this.#agenda.add({ ...happening, atMs: node.pausedUntilMs });
      return false;
    }
    const nowMs = this.nowMs + node.offsetMs;
    const { from, gossip } = happening;
    if (gossip === undefined) {
      if (node.armedMs !== happening.dueMs) return false;
      node.armedMs = Infinity;
      this.#step(node, -1, { kind: 'tick', nowMs });
      return true;
    }
    const heard = this.#receive(node, gossip);
    this.#step(node, from, { kind: happening.reply ? 'answered' : 'asked', member: from, gossip: heard, nowMs });
    return true;
  }

  #step(node: SimulatedNode, asker: number, event: DetectorEvent): void {
    detectorStep(node.detector, event, this.#outOf(node, asker));
    this.#arm(node);
  }

  #arm(node: SimulatedNode): void {
    const { wakeMs } = node.detector;
    if (wakeMs >= node.armedMs) return;
    node.armedMs = wakeMs;
    const atMs = Math.max(this.nowMs, wakeMs - node.offsetMs);
    this.#agenda.add({ atMs, order: 0, node: node.position, from: -1, reply: false, gossip: undefined, dueMs: wakeMs });
  }

  #outOf(node: SimulatedNode, asker: number): DetectorOut {
    return {
      send: (member, gossip) => {
        this.#send(node, member, gossip, false);
      },
      reply: (gossip) => {
        this.#send(node, asker, gossip, true);
      },
      down: (member, _incarnation, observers) => {
        this.downs += 1;
        this.#settings.onDown(node.position, member, observers);
      },
      up: () => {
        this.ups += 1;
      },
      avoid: (_member, avoided) => {
        if (avoided) this.avoided += 1;
      },
      accuse: () => {
        this.accusations += 1;
      },
      refute: () => {
        this.refutations += 1;
      },
    };
  }

  #send(node: SimulatedNode, to: number, gossip: Gossip, reply: boolean): void {
    const { loss, delayMs, jitterMs, encoded } = this.#settings;
    this.messages += 1;
    let sent: Gossip | Uint8Array = gossip;
    if (encoded) {
      sent = encodeGossip(gossip);
      node.bytesSent += HEADER_BYTES + sent.length;
    }
    if (loss > 0 && this.#dice.chance(loss)) return;
    const atMs = this.nowMs + delayMs + jitterMs * this.#dice.fraction();
    this.#agenda.add({ atMs, order: 0, node: to, from: node.position, reply, gossip: sent, dueMs: 0 });
  }

  #receive(node: SimulatedNode, gossip: Gossip | Uint8Array): Gossip {
    if (!(gossip instanceof Uint8Array)) return gossip;
    node.bytesReceived += HEADER_BYTES + gossip.length;
    return decodeGossip(gossip);
  }
}
