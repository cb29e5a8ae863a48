/**
 * One connection to another node, from its first byte to its last: the handshake, then whole frames for its role, and the watch over a
 * connection that has fallen silent.
 *
 * Nothing but the handshake's frames is heard before both sides have accepted each other. Whatever is wrong with what comes in ends this
 * connection and nothing else.
 */

import { asCoterieError, CoterieError, type ErrorCode, isCoterieError } from '../base/errors.ts';
import type { Clock, Timer } from '../env/clock.ts';
import type { Connection, ConnectionHandler } from '../env/network.ts';
import { FrameParser, type FrameSink } from './frame-parser.ts';
import { FIRST_MESSAGE_TYPE, type Frame, FrameType, readMark } from './frame.ts';
import { decodeFailure, decodeHello, decodeWelcome, encodeFailure, encodeHello, encodeWelcome } from './handshake-codec.ts';
import type { HandshakePolicy, Hello } from './handshake.ts';
import { Lateness } from './lateness.ts';
import type { TransportLimits } from './limits.ts';
import { Outbox, type Sender } from './outbox.ts';
import type { TransportCounters } from './peer-status.ts';

/** What all links of a transport share. */
export interface LinkWorld {
  readonly clock: Clock;
  readonly limits: TransportLimits;
  readonly policy: HandshakePolicy;
  readonly counters: TransportCounters;
}

/** What a link is for. Its methods run from the connection's callbacks; `bind` first, `closed` once and last. */
export interface LinkRole {
  readonly direction: 'out' | 'in';
  /** The peer this link was opened to; undefined for one that was accepted. */
  readonly expected: string | undefined;
  bind(link: Link): void;
  /** Both sides have accepted each other. */
  established(theirs: Hello): void;
  /**
   * A frame of an established link, borrowed. False stops reading, until `Link.read`.
   *
   * @param nowMs monotonic
   * @param waitedMs how long the frame has waited, here and on its way
   */
  frame(frame: Frame, nowMs: number, waitedMs: number): boolean;
  /** What was congested has room again. */
  drained(): void;
  /** The peer has answered a ping. */
  ponged(): void;
  findSender(id: number): Sender | undefined;
  closed(error: CoterieError): void;
}

/** An accepted link waits so much longer than `silenceMs`, because only the side that opened it probes. */
const ACCEPTED_PATIENCE = 4;
/** What a refused peer gets to read the reason. */
const LINGER_MS = 1000;
const NOTHING = new Uint8Array(0);

/** `hello`: theirs is awaited; `judging`; `welcome`: theirs is awaited; `up`. */
type Phase = 'hello' | 'judging' | 'welcome' | 'up' | 'closed';

export class Link implements ConnectionHandler, FrameSink {
  readonly outbox: Outbox;
  readonly remote: string;
  readonly #world: LinkWorld;
  readonly #connection: Connection;
  readonly #role: LinkRole;
  readonly #parser: FrameParser;
  #phase: Phase = 'hello';
  #theirs: Hello | undefined;
  /** Monotonic time of the last sign of life: bytes came, or some that had waited here were taken. */
  #aliveMs: number;
  /** Monotonic time of the parser's run; the time since which bytes wait for it, and how long the oldest had waited when it ran. */
  #nowMs: number;
  #stoppedMs = 0;
  #waitedMs = 0;
  #checkedMs: number;
  #timer: Timer;
  #paused = false;
  /** Monotonic time of the first ping that nothing has come after; Infinity without one. */
  #pingedMs = Infinity;
  readonly #lateness = new Lateness();

  constructor(connection: Connection, world: LinkWorld, role: LinkRole) {
    this.#connection = connection;
    this.#world = world;
    this.#role = role;
    this.remote = connection.remote;
    this.#parser = new FrameParser(this);
    this.outbox = new Outbox(connection, world.clock, world.counters, (id) => role.findSender(id));
    this.#nowMs = world.clock.monotonicMs();
    this.#aliveMs = this.#nowMs;
    this.#checkedMs = this.#nowMs;
    this.#timer = world.clock.after(world.limits.handshakeTimeoutMs, () => {
      this.fail(new CoterieError('PEER_UNREACHABLE', 'the handshake took too long'));
    });
    role.bind(this);
    if (role.direction === 'out') this.#sendHello();
  }

  /** Frames pass. */
  get up(): boolean {
    return this.#phase === 'up';
  }

  /** Monotonic time of the first ping that nothing has come after; Infinity without one. */
  get pingedMs(): number {
    return this.#pingedMs;
  }

  /** Whose frames these are, once it is up. */
  get theirs(): Hello | undefined {
    return this.#theirs;
  }

  /** Monotonic time of the last sign of life. */
  get aliveMs(): number {
    return this.#aliveMs;
  }

  /** Whether it can tell of what comes how late it is. */
  get timed(): boolean {
    return this.#lateness.known;
  }

  /** Reading has been stopped by the role. */
  get stopped(): boolean {
    return this.#parser.stopped;
  }

  /** Reads again after the role had stopped it. Runs the role: not to be called from within it. */
  read(): void {
    if (this.#phase === 'up' && this.#parser.stopped) this.#resume();
  }

  /** Ends the link; the role hears the reason. */
  fail(error: CoterieError): void {
    if (this.#close(error)) this.#connection.destroy();
  }

  onData(chunk: Uint8Array): void {
    if (this.#phase === 'closed') return;
    this.#world.counters.bytesReceived += chunk.length;
    this.#aliveMs = this.#world.clock.monotonicMs();
    this.#pingedMs = Infinity;
    if (!this.#parser.stopped) {
      this.#nowMs = this.#aliveMs;
      this.#stoppedMs = this.#aliveMs;
      this.#waitedMs = 0;
    }
    try {
      this.#parser.push(chunk);
    } catch (error) {
      this.#blame(error);
    }
    this.#balance();
  }

  onDrain(): void {
    if (this.#phase === 'closed') return;
    this.#aliveMs = this.#world.clock.monotonicMs();
    this.outbox.drained();
    this.#role.drained();
  }

  onClose(error?: Error): void {
    this.#close(new CoterieError('PEER_UNREACHABLE', 'the connection was lost', { cause: error }));
  }

  /** A frame from the parser. */
  frame(frame: Frame): boolean {
    switch (this.#phase) {
      case 'up':
        return this.#frameWhenUp(frame);
      case 'hello':
      case 'welcome':
        return this.#frameOfHandshake(frame);
      case 'judging':
      case 'closed':
        return false;
    }
  }

  #frameWhenUp(frame: Frame): boolean {
    if (frame.type >= FIRST_MESSAGE_TYPE || frame.id !== 0) {
      const waitedMs = Math.max(this.#waitedMs, this.#lateness.lateMs(this.#nowMs));
      return this.#role.frame(frame, this.#nowMs, waitedMs) && this.up;
    }
    if (frame.type === FrameType.MARK) {
      this.#marked(frame);
      return true;
    }
    if (frame.flags !== 0 || frame.payload.length > 0) throw new CoterieError('FRAME_INVALID', 'a frame of the transport is malformed');
    if (frame.type === FrameType.PING) {
      if (this.outbox.queuedBytes > this.#world.limits.maxQueueBytes) throw new CoterieError('BUSY', 'the peer does not read its replies');
      this.outbox.put(FrameType.PONG, 0, 0, 0, 0, NOTHING);
    } else if (frame.type === FrameType.PONG) {
      this.#role.ponged();
    } else {
      throw new CoterieError('FRAME_INVALID', `frames of type ${String(frame.type)} are not known here`);
    }
    return true;
  }

  #marked({ flags, payload }: Frame): void {
    const sentMs = flags === 0 ? readMark(payload) : undefined;
    if (sentMs === undefined) throw new CoterieError('FRAME_INVALID', 'a mark is malformed');
    this.#lateness.mark(sentMs, this.#nowMs, this.#waitedMs > 0);
  }

  #frameOfHandshake(frame: Frame): boolean {
    if (frame.flags !== 0 || frame.id !== 0) throw new CoterieError('FRAME_INVALID', 'a frame came before the handshake was over');
    if (frame.type === FrameType.ERROR) {
      const { code, message } = decodeFailure(frame.payload);
      this.fail(new CoterieError(code, `refused by the peer: ${message}`));
      return false;
    }
    if (this.#phase === 'hello' && frame.type === FrameType.HELLO) {
      this.#judge(decodeHello(frame.payload));
      return false;
    }
    if (this.#phase === 'welcome' && frame.type === FrameType.WELCOME) {
      this.#welcomed(frame);
      return this.up;
    }
    throw new CoterieError('FRAME_INVALID', 'the handshake is out of order');
  }

  /** Compares what the transport itself can, and asks the policy for the rest. Until it has answered nothing is read. */
  #judge(theirs: Hello): void {
    this.#phase = 'judging';
    this.#theirs = theirs;
    const { expected } = this.#role;
    const protocol = this.#commonProtocol(theirs);
    if (protocol === undefined) {
      const { min, max } = theirs.protocol;
      this.#refuse('PEER_INCOMPATIBLE', `${theirs.name} speaks versions ${String(min)} to ${String(max)} of the peer protocol`);
      return;
    }
    if (expected !== undefined && expected !== theirs.name) {
      this.#refuse('PEER_FOREIGN', `expected ${expected}, found ${theirs.name}`);
      return;
    }
    this.#world.policy.judge(theirs).then(
      (judgement) => {
        if (this.#phase !== 'judging') return;
        if (!judgement.accept) {
          this.#refuse(judgement.code, judgement.message);
          return;
        }
        if (this.#role.direction === 'in') this.#sendHello();
        this.outbox.put(FrameType.WELCOME, 0, 0, 0, 0, encodeWelcome({ protocol, remembered: judgement.remembered }));
        this.#phase = 'welcome';
        this.#resume();
      },
      (error: unknown) => {
        if (this.#phase === 'judging') this.#refuse('INTERNAL', asCoterieError(error).message);
      },
    );
  }

  #commonProtocol(theirs: Hello): number | undefined {
    const ours = this.#world.policy.hello().protocol;
    const version = Math.min(ours.max, theirs.protocol.max);
    return version >= Math.max(ours.min, theirs.protocol.min) ? version : undefined;
  }

  #welcomed(frame: Frame): void {
    const theirs = this.#theirs;
    const { protocol, remembered } = decodeWelcome(frame.payload);
    if (theirs === undefined || protocol !== this.#commonProtocol(theirs)) {
      throw new CoterieError('FRAME_INVALID', 'the versions do not match');
    }
    this.#phase = 'up';
    this.#timer.cancel();
    this.#watch();
    this.#world.policy.remembered(theirs.name, remembered);
    this.#role.established(theirs);
  }

  #sendHello(): void {
    this.outbox.put(FrameType.HELLO, 0, 0, 0, 0, encodeHello(this.#world.policy.hello()));
  }

  /** Tells the other side why, then closes. */
  #refuse(code: ErrorCode, message: string): void {
    this.outbox.put(FrameType.ERROR, 0, 0, 0, 0, encodeFailure(code, message, 'none'));
    this.outbox.flush();
    if (!this.#close(new CoterieError(code, message))) return;
    this.#connection.end();
    this.#world.clock.after(LINGER_MS, () => {
      this.#connection.destroy();
    });
  }

  #close(error: CoterieError): boolean {
    if (this.#phase === 'closed') return false;
    this.#phase = 'closed';
    this.#timer.cancel();
    this.#role.closed(error);
    this.outbox.close();
    return true;
  }

  #resume(): void {
    this.#nowMs = this.#world.clock.monotonicMs();
    this.#waitedMs = this.#nowMs - this.#stoppedMs;
    try {
      this.#parser.resume();
    } catch (error) {
      this.#blame(error);
    }
    this.#balance();
  }

  /** A coded error from the parser is the peer's fault and ends the link; anything else is a bug and goes on up. */
  #blame(error: unknown): void {
    if (!isCoterieError(error)) throw error;
    this.#world.counters.framesInvalid += 1;
    this.fail(error);
  }

  /** Lets the peer feel that the parser has stopped, or goes on. */
  #balance(): void {
    if (this.#phase === 'closed' || this.#paused === this.#parser.stopped) return;
    this.#paused = this.#parser.stopped;
    if (this.#paused) this.#connection.pause();
    else this.#connection.resume();
  }

  /** Probes a silent link, gives up a dead one. A check that itself comes late proves nothing: this process was held up. */
  #watch(): void {
    const { clock, limits } = this.#world;
    this.#checkedMs = clock.monotonicMs();
    this.#timer = clock.after(limits.probeMs, () => {
      const now = clock.monotonicMs();
      const punctual = now - this.#checkedMs < 2 * limits.probeMs;
      const silent = now - this.#aliveMs;
      const patience = this.#role.direction === 'out' ? limits.silenceMs : ACCEPTED_PATIENCE * limits.silenceMs;
      // Who is not read cannot be heard; but it should take what waits for it.
      const listening = !this.#paused || this.outbox.congested;
      if (punctual && listening && silent >= patience) {
        this.fail(new CoterieError('PEER_UNREACHABLE', `silent for ${String(Math.round(silent))} ms`));
        return;
      }
      if (this.#role.direction === 'out' && silent >= limits.probeMs) {
        this.#pingedMs = Math.min(this.#pingedMs, now);
        this.outbox.put(FrameType.PING, 0, 0, 0, 0, NOTHING);
      }
      this.#watch();
    });
  }
}
