/**
 * A dumb model of one key, to check versioned objects against: replicas know sets of events, every event lists the events it replaced, and
 * nothing is ever forgotten. It shares no code with what it checks.
 */

/** A moment as (milliseconds, logical); compared field by field. */
export type Moment = readonly [number, number];

export interface WriteEvent {
  readonly id: number;
  readonly kind: 'put' | 'delete' | 'expire';
  readonly blind: boolean;
  /** What a reader sees of a put. */
  readonly label: string;
  readonly at: Moment;
  /** Breaks ties of `at` among blind writes. */
  readonly tie: string;
  readonly expireAtMs: number;
  /** Events that this one replaced. */
  readonly replaced: ReadonlySet<number>;
  /** Events that its context had seen, and its coordinator the operations of. */
  readonly outdone: ReadonlySet<number>;
  /** For expire: the events whose expiry it sets. */
  readonly targets: ReadonlySet<number>;
  readonly operation: string | undefined;
}

export interface Shown {
  readonly label: string;
  readonly expireAtMs: number;
}

function later(a: Moment, b: Moment): boolean {
  return a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
}

export class CausalModel {
  readonly events: WriteEvent[] = [];

  add(event: Omit<WriteEvent, 'id'>): number {
    const id = this.events.length;
    this.events.push({ ...event, id });
    return id;
  }

  #known(known: ReadonlySet<number>): WriteEvent[] {
    return this.events.filter((event) => known.has(event.id));
  }

  #beats(a: WriteEvent, b: WriteEvent): boolean {
    return later(a.at, b.at) || (!later(b.at, a.at) && a.tie > b.tie);
  }

  /** The puts that live for one who knows `known`: not replaced, and if blind, beaten by no other blind write. */
  live(known: ReadonlySet<number>): WriteEvent[] {
    const all = this.#known(known);
    return all.filter(
      (event) =>
        event.kind === 'put' &&
        !all.some((other) => other.replaced.has(event.id)) &&
        !(event.blind && all.some((other) => other.blind && other.kind !== 'expire' && this.#beats(other, event))),
    );
  }

  /**
   * Live puts whose client operation was replaced through another of its attempts: one that is dead, or of blind ones, which beat each other
   * too, one that a context had seen. `held`: the events that came with their objects; of the others in `known`, which a client's context
   * told, nobody here knows the operation. `outdone`: those that the context of a write now under way has seen.
   */
  hidden(known: ReadonlySet<number>, held: ReadonlySet<number>, outdone: ReadonlySet<number> = new Set()): WriteEvent[] {
    const live = this.live(known);
    const all = this.#known(held);
    const isOutdone = (id: number): boolean => outdone.has(id) || all.some((other) => other.outdone.has(id));
    return live.filter(
      (event) =>
        event.operation !== undefined &&
        all.some(
          (other) =>
            other.operation === event.operation &&
            other.id !== event.id &&
            (isOutdone(other.id) || (!event.blind && !live.includes(other))),
        ),
    );
  }

  /** The last edit of an event's expiry, as far as `known` goes. */
  #register(event: WriteEvent, known: ReadonlySet<number>): { at: Moment; expireAtMs: number } {
    let register: { at: Moment; expireAtMs: number } = { at: [0, 0], expireAtMs: event.expireAtMs };
    for (const edit of this.#known(known)) {
      if (edit.kind !== 'expire' || !edit.targets.has(event.id)) continue;
      if (later(edit.at, register.at) || (!later(register.at, edit.at) && edit.expireAtMs > register.expireAtMs)) {
        register = { at: edit.at, expireAtMs: edit.expireAtMs };
      }
    }
    return register;
  }

  expiryOf(event: WriteEvent, known: ReadonlySet<number>): number {
    return this.#register(event, known).expireAtMs;
  }

  /** What a reader is shown, newest first. */
  shown(known: ReadonlySet<number>, held: ReadonlySet<number>, nowMs: number): Shown[] {
    const hidden = this.hidden(known, held);
    const newestFirst = this.live(known)
      .filter((event) => !hidden.includes(event))
      .sort((a, b) => (this.#beats(a, b) ? -1 : 1));
    const groups = new Map<string, WriteEvent[]>();
    for (const event of newestFirst) {
      const name = event.operation ?? `event ${String(event.id)}`;
      groups.set(name, [...(groups.get(name) ?? []), event]);
    }
    const shown: Shown[] = [];
    for (const group of groups.values()) {
      let last: { at: Moment; expireAtMs: number } | undefined;
      for (const event of group) {
        const register = this.#register(event, known);
        const wins =
          last === undefined || later(register.at, last.at) || (!later(last.at, register.at) && register.expireAtMs > last.expireAtMs);
        if (wins) last = register;
      }
      const expireAtMs = last?.expireAtMs ?? 0;
      if (expireAtMs === 0 || expireAtMs > nowMs) shown.push({ label: group[0]?.label ?? '', expireAtMs });
    }
    return shown;
  }
}
