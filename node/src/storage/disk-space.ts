/** Watches the room on the volume: below the reserve, or after a write that found none, the store is full until there is room again. */

import type { Clock, Timer } from '../env/clock.ts';
import type { Settings } from './options.ts';

const POLL_MS = 500;
/** Bytes written between two looks at the volume. */
const LOOK_BYTES = 4 * 1024 * 1024;
const RESUME_FACTOR = 1.5;

export class DiskSpace {
  isFull = false;
  readonly #settings: Settings;
  readonly #clock: Clock;
  readonly #changed: (full: boolean) => void;
  #timer: Timer | undefined;
  #looking = false;
  #since = 0;
  #closed = false;
  fills = 0;

  constructor(settings: Settings, changed: (full: boolean) => void) {
    this.#settings = settings;
    this.#clock = settings.clock;
    this.#changed = changed;
  }

  /** Some bytes are about to be written. */
  wrote(bytes: number): void {
    this.#since += bytes;
    if (this.#since < Math.min(LOOK_BYTES, this.#settings.reserveBytes / 4)) return;
    this.#since = 0;
    if (!this.isFull) void this.look();
  }

  /** A write found no room. */
  exhausted(): void {
    this.#turn(true);
  }

  async look(): Promise<void> {
    if (this.#looking || this.#closed || (this.#settings.reserveBytes === 0 && !this.isFull)) return;
    this.#looking = true;
    let free = Number.POSITIVE_INFINITY;
    try {
      free = await this.#settings.vfs.freeBytes(this.#settings.directory);
    } catch {
      // A volume that cannot be asked is taken to have room: a write that finds none says so.
    }
    this.#looking = false;
    if (this.#isClosed()) return;
    const { reserveBytes } = this.#settings;
    if (this.isFull ? free >= reserveBytes * RESUME_FACTOR : free < reserveBytes) this.#turn(!this.isFull);
    else if (this.isFull) this.#poll();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #isClosed(): boolean {
    return this.#closed;
  }

  #turn(full: boolean): void {
    const was = this.isFull;
    this.isFull = full;
    if (full) this.#poll();
    if (was === full) return;
    if (full) this.fills += 1;
    this.#changed(full);
  }

  #poll(): void {
    this.#timer?.cancel();
    if (this.#closed) return;
    this.#timer = this.#clock.after(POLL_MS, () => {
      void this.look();
    });
  }
}
