/**
 * Who probed whom, as the network saw it: the requests of the failure detector that one host wrote to another, its attempts to connect, and the
 * detector's messages that came back.
 *
 * It reads frames by itself (`u32 length | u8 type | u8 flags | …`), in what is written, where they are whole, and in what arrives, where they are cut
 * anywhere.
 */

import type { Silence } from '../checkers/two-observers.ts';

/** The number of the detector's messages, and the flag of a reply: node/proto/peer.proto, src/transport/frame.ts. */
const GOSSIP = 23;
const REPLY = 1;
const HEAD = 6;
/** For how long the silence before a word of the member may still be spoken of. */
const REMEMBERED_US = 30_000_000;

interface Span {
  readonly fromUs: number;
  toUs: number;
  attempts: number;
  /** The silence goes on. */
  open: boolean;
  /** Nobody may rely on it any more from then on. */
  validUntilUs: number;
}

/** The frames of one stream, of which only the heads are looked at. */
class FrameHeads {
  readonly #head = new Uint8Array(HEAD);
  #have = 0;
  #skip = 0;

  /** Whether a frame of the detector ends its head within these bytes. */
  hasGossip(bytes: Uint8Array): boolean {
    let found = false;
    for (let at = 0; at < bytes.length;) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, bytes.length - at);
        this.#skip -= step;
        at += step;
        continue;
      }
      this.#head[this.#have] = bytes[at] ?? 0;
      this.#have += 1;
      at += 1;
      if (this.#have < HEAD) continue;
      this.#have = 0;
      this.#skip = Math.max(0, u32(this.#head, 0) + 4 - HEAD);
      if (this.#head[4] === GOSSIP) found = true;
    }
    return found;
  }
}

function u32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
}

export class ProbeLedger {
  readonly #now: () => number;
  readonly #spans = new Map<string, Span[]>();
  readonly #streams = new WeakMap<object, FrameHeads>();
  /** Pairs of which the first tries to connect, or has connected and asked nothing yet: the attempt goes on. */
  readonly #opening = new Set<string>();

  /** @param now virtual microseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A host has handed whole frames to a connection. */
  wrote(from: string, to: string, bytes: Uint8Array): void {
    for (let at = 0; at + HEAD <= bytes.length; at += 4 + u32(bytes, at)) {
      if (bytes[at + 4] !== GOSSIP || ((bytes[at + 5] ?? 0) & REPLY) !== 0) continue;
      this.#opening.delete(`${from}>${to}`);
      this.#attempted(from, to);
    }
  }

  /** A host tries to connect to another. */
  connects(from: string, to: string): void {
    this.#opening.add(`${from}>${to}`);
    this.#attempted(from, to);
  }

  /** The attempt to connect has failed. */
  connectFailed(from: string, to: string): void {
    this.#opening.delete(`${from}>${to}`);
  }

  /** @param stream tells the connections apart */
  received(at: string, from: string, stream: object, bytes: Uint8Array): void {
    let heads = this.#streams.get(stream);
    if (heads === undefined) {
      heads = new FrameHeads();
      this.#streams.set(stream, heads);
    }
    if (!heads.hasGossip(bytes)) return;
    this.#end(at, from);
    if (this.#opening.has(`${at}>${from}`)) this.#attempted(at, from);
  }

  /** A host's process has ended: what it saw is still known to others. */
  died(host: string): void {
    for (const pair of this.#opening) if (pair.startsWith(`${host}>`)) this.#opening.delete(pair);
    for (const [pair, spans] of this.#spans) {
      if (!pair.startsWith(`${host}>`)) continue;
      for (const span of spans) {
        if (span.open) span.toUs = this.#now();
        span.open = false;
      }
    }
  }

  /** The longest silence between two hosts that may be spoken of now. */
  longest(observer: string, member: string): Silence {
    const nowUs = this.#now();
    const best = { ms: 0, attempts: 0 };
    for (const { fromUs, toUs, attempts, open, validUntilUs } of this.#spans.get(`${observer}>${member}`) ?? []) {
      if (validUntilUs < nowUs) continue;
      const ms = ((open ? nowUs : toUs) - fromUs) / 1000;
      if (ms > best.ms) Object.assign(best, { ms, attempts });
    }
    return best;
  }

  #attempted(from: string, to: string): void {
    const pair = `${from}>${to}`;
    const spans = this.#spans.get(pair) ?? [];
    this.#spans.set(pair, spans);
    const last = spans.at(-1);
    if (last?.open === true) {
      last.attempts += 1;
    } else {
      spans.push({ fromUs: this.#now(), toUs: this.#now(), attempts: 1, open: true, validUntilUs: Infinity });
    }
  }

  /** The member's word ends its silence, of which others may still speak for a while. */
  #end(observer: string, member: string): void {
    const nowUs = this.#now();
    const kept = (this.#spans.get(`${observer}>${member}`) ?? []).filter((span) => span.validUntilUs >= nowUs);
    for (const span of kept) {
      if (span.open) span.toUs = nowUs;
      span.open = false;
      span.validUntilUs = Math.min(span.validUntilUs, nowUs + REMEMBERED_US);
    }
    this.#spans.set(`${observer}>${member}`, kept);
  }
}
