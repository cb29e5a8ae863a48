/**
 * A simulated volume: one `Medium`, the processes that have it mounted, and the faults.
 *
 * Use:
 *   const volume = new SimVolume({ random: new SeededRandom(7) });
 *   const mount = new SimMount(volume, { schedule: (delayMs, fn) => { clock.after(delayMs, fn); } });   // one incarnation of a process
 *   ... mount.vfs, mount.sync, new SimExecutor(mount, { random }) ...
 *   volume.judge = (operation) => (operation.index === 17 ? 'power-loss' : 'ok');
 *
 * - Every call of a mount is an `Operation` (operation.ts) shown to `judge` just before it takes effect, numbered from 0 in two sequences: those that
 *   change the disk, and the others. The verdict decides its fate: `ok`; `no-space` and `io` fail it (a write may have been done in part;
 *   a failed `dataSync` drops the dirty pages: see Medium.failSync); `ignored` is a disk that lies; `power-loss` and `process-death` crash within it, so that it is cut
 *   midway.
 * - `powerLoss` fences every mount and loses what was not synced. `processDeath` fences one mount, and what the system had cached stays.
 *   A fenced mount's synchronous calls throw `Fenced`, its promises never settle, its jobs never go on, its locks are free, and nothing
 *   that it does reaches the disk. Calls in flight at the crash happened or not, each on its own.
 * - `imageAfterPowerLoss` answers what a loss of power now would leave, without disturbing anything: one run of a workload serves for
 *   every cut of it. `image`/`restore` bring back an old disk; `wipe` empties it; `flip` rots bits; `capacityBytes` fills it.
 */

import { VfsError } from '../../src/env/vfs.ts';
import { Medium } from './medium.ts';
import type { MediumChange } from './medium.ts';
import { Fenced } from './operation.ts';
import type { Operation, OperationKind, Verdict } from './operation.ts';
import type { SeededRandom } from './seeded-random.ts';

/** What the volume knows of a process that has it mounted. */
export interface Mounted {
  readonly alive: boolean;
  fence(): void;
  /** The nodes of its open handles, one each. */
  openNodes(): number[];
}

export interface VolumeOptions {
  readonly random: SeededRandom;
  /** Bytes of files that fit; unlimited by default. May be changed later. */
  readonly capacityBytes?: number;
}

export class SimVolume {
  /** Decides each operation's fate; replaced at will. It must not call back into the volume except for images. */
  judge: (operation: Operation) => Verdict = () => 'ok';
  /** Runs once a crash has happened, with the mounts that it fenced: the rest of their process must be stopped too. */
  onCrash: (fenced: readonly Mounted[]) => void = () => undefined;
  capacityBytes: number;
  /** Operations so far that changed the disk, and those that did not. */
  changes = 0;
  looks = 0;

  #medium = new Medium();
  readonly #random: SeededRandom;
  readonly #mounts = new Set<Mounted>();
  /** Issued by asynchronous calls and not yet done. */
  readonly #inFlight = new Map<MediumChange, Mounted>();
  readonly #locks = new Map<string, Mounted>();

  constructor(options: VolumeOptions) {
    this.#random = options.random;
    this.capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
  }

  get medium(): Medium {
    return this.#medium;
  }

  /** Bytes that can still be written, at least 0. */
  freeBytes(): number {
    return Math.max(0, Math.min(this.capacityBytes - this.#medium.usedBytes(), Number.MAX_SAFE_INTEGER));
  }

  /** Every file's path and length, sorted by path. */
  files(): { path: string; size: number }[] {
    return this.#medium.files();
  }

  powerLoss(): void {
    const fenced = [...this.#mounts];
    this.#finishSome(this.#medium, fenced);
    this.#fence(fenced);
    this.#medium.losePower(this.#random);
    this.onCrash(fenced);
  }

  /** The process of `mount` dies at once; the operating system goes on and keeps what it wrote. */
  processDeath(mount: Mounted): void {
    this.#finishSome(this.#medium, [mount]);
    this.#fence([mount]);
    for (const node of mount.openNodes()) this.release(node);
    this.onCrash([mount]);
  }

  /** All that a disk taken out now, cleanly, holds: for `restore`. */
  image(): Medium {
    const copy = this.#medium.clone();
    for (const node of copy.nodes.values()) if (node.kind === 'directory') node.pending = [];
    for (const node of copy.nodes.values()) {
      if (node.kind === 'file') {
        node.kept = node.bytes.slice(0, node.size);
        node.keptSize = node.size;
        node.smallest = node.size;
        node.dirty.clear();
      } else {
        node.kept = new Map(node.entries);
      }
    }
    copy.settle();
    return copy;
  }

  /** What a loss of power at this instant could leave; the operation being judged may have happened, in part, or not. */
  imageAfterPowerLoss(random: SeededRandom, current?: MediumChange): Medium {
    const copy = this.imageAfterProcessDeath(random, current);
    copy.losePower(random);
    return copy;
  }

  /**
   * What the death of the process at this instant would leave, with the operating system going on: the calls in flight happened or not, and
   * what was not synced is still not.
   */
  imageAfterProcessDeath(random: SeededRandom, current?: MediumChange): Medium {
    const copy = this.#medium.clone();
    if (current !== undefined) this.#perhaps(copy, current, random);
    for (const change of this.#inFlight.keys()) if (change !== current) this.#perhaps(copy, change, random);
    return copy;
  }

  /** The operation being judged, for `imageAfterPowerLoss`; absent for those that change nothing. */
  current: MediumChange | undefined;

  /** Puts another disk in place of this one: an old image, or a new `Medium`. Fences every mount. */
  restore(image: Medium): void {
    const fenced = [...this.#mounts];
    this.#fence(fenced);
    this.#medium = image.clone();
    this.#medium.settle();
    if (fenced.length > 0) this.onCrash(fenced);
  }

  wipe(): void {
    this.restore(new Medium());
  }

  /** @throws VfsError NOT_FOUND */
  flip(path: string, offset: number, mask: number): void {
    this.#medium.flip(path, offset, mask);
  }

  // What follows is for SimMount.

  attach(mount: Mounted): void {
    this.#mounts.add(mount);
  }

  /** An asynchronous call was made: a crash before it is done may or may not have done it. */
  begin(change: MediumChange, mount: Mounted): void {
    this.#inFlight.set(change, mount);
  }

  /** Performs a change. @throws VfsError; Fenced when the verdict was a crash */
  perform(change: MediumChange, mount: Mounted, synchronous: boolean): void {
    this.#inFlight.delete(change);
    this.#checkAlive(mount);
    const bytes = change.kind === 'write' ? change.bytes.length : 0;
    const position = change.kind === 'write' ? change.position : 0;
    this.current = change;
    const verdict = this.judge({ kind: change.kind, path: change.path, bytes, position, changes: true, index: this.changes, synchronous });
    this.current = undefined;
    this.changes += 1;
    switch (verdict) {
      case 'ok':
        this.#checkSpace(change);
        this.#medium.apply(change);
        return;
      case 'ignored':
        return;
      case 'no-space':
      case 'io':
        this.#fail(change);
        throw new VfsError(verdict === 'io' ? 'IO' : 'NO_SPACE', change.path, change.kind);
      case 'power-loss':
        this.#perhaps(this.#medium, change, this.#random);
        this.powerLoss();
        throw new Fenced();
      case 'process-death':
        this.#perhaps(this.#medium, change, this.#random);
        this.processDeath(mount);
        throw new Fenced();
    }
  }

  /** Judges an operation that changes nothing. @throws VfsError; Fenced */
  look(kind: OperationKind, path: string, mount: Mounted, synchronous: boolean, bytes = 0, position = 0): void {
    this.#checkAlive(mount);
    const verdict = this.judge({ kind, path, bytes, position, changes: false, index: this.looks, synchronous });
    this.looks += 1;
    switch (verdict) {
      case 'ok':
      case 'ignored':
        return;
      case 'no-space':
      case 'io':
        throw new VfsError('IO', path, kind);
      case 'power-loss':
        this.powerLoss();
        throw new Fenced();
      case 'process-death':
        this.processDeath(mount);
        throw new Fenced();
    }
  }

  takeLock(path: string, mount: Mounted): void {
    if (this.#locks.has(path)) throw new VfsError('LOCKED', path, 'lock');
    this.#locks.set(path, mount);
  }

  releaseLock(path: string, mount: Mounted): void {
    if (this.#locks.get(path) === mount) this.#locks.delete(path);
  }

  /** A handle on a file was closed. */
  release(node: number): void {
    const file = this.#medium.nodes.get(node);
    if (file?.kind === 'file' && file.handles > 0) file.handles -= 1;
  }

  #checkAlive(mount: Mounted): void {
    if (!mount.alive) throw new Fenced();
  }

  #checkSpace(change: MediumChange): void {
    if (this.capacityBytes === Number.POSITIVE_INFINITY) return;
    let more = 0;
    if (change.kind === 'write') {
      const file = this.#medium.file(change.node);
      more = Math.max(0, change.position + change.bytes.length - file.size);
    } else if (change.kind === 'truncate') {
      more = Math.max(0, change.length - this.#medium.file(change.node).size);
    } else if (change.kind === 'create' || change.kind === 'mkdir') {
      more = 1;
    }
    if (more === 0 || this.#medium.usedBytes() + more <= this.capacityBytes) return;
    this.#fail(change);
    throw new VfsError('NO_SPACE', change.path, change.kind);
  }

  /** What a failed operation leaves: a write may have been done up to some byte that fits, a sync has dropped pages. */
  #fail(change: MediumChange): void {
    if (change.kind === 'write') {
      const room = Math.min(change.bytes.length, this.freeBytes());
      const done = this.#random.below(room + 1);
      this.#medium.apply({ ...change, bytes: change.bytes.subarray(0, done) });
    } else if (change.kind === 'dataSync') {
      this.#medium.failSync(change.node, this.#random);
    }
  }

  /** A change that a crash cut: not done, done, or (a write) done up to some byte. A loss of power then tears it further. */
  #perhaps(medium: Medium, change: MediumChange, random: SeededRandom): void {
    const fate = random.below(3);
    if (fate === 0) return;
    try {
      if (change.kind === 'write' && fate === 1) {
        medium.apply({ ...change, bytes: change.bytes.subarray(0, random.below(change.bytes.length + 1)) });
      } else {
        medium.apply(change);
      }
    } catch (error) {
      // One that would have failed has no effect.
      if (!(error instanceof VfsError)) throw error;
    }
  }

  #finishSome(medium: Medium, mounts: readonly Mounted[]): void {
    for (const [change, mount] of this.#inFlight) if (mounts.includes(mount)) this.#perhaps(medium, change, this.#random);
  }

  #fence(mounts: readonly Mounted[]): void {
    for (const mount of mounts) {
      mount.fence();
      this.#mounts.delete(mount);
    }
    for (const [change, mount] of this.#inFlight) if (mounts.includes(mount)) this.#inFlight.delete(change);
    for (const [path, mount] of this.#locks) if (mounts.includes(mount)) this.#locks.delete(path);
  }
}
