/**
 * Somebody who keeps a summary of the whole content beside the store (the node's hash trees), and wants to find it valid after a restart.
 *
 * The content after write number `sequence` is always the same, but for heals: a summary of it that was written down with that number can be trusted at the
 * next start if the tables hold nothing later, and the log at least as much. `Engine.replayed` then answers what came behind it.
 */
export interface Follower {
  /** The active memtable was sealed: it ends with write number `sequence`, and nothing later was taken. Called within that write's turn. */
  sealed(sequence: number): void;
  /** The tables are about to hold everything up to `sequence`: the manifest says so only after this has resolved. It never rejects. */
  flushing(sequence: number): Promise<void>;
  /** The manifest says it. */
  flushed(sequence: number): void;
  /** Damage was met, or healed: `Engine.quarantined` tells where there is some. */
  damaged(): void;
  /**
   * What damage took of a range is about to count as absent, which changes the content without a write: a summary of before stands for more than
   * there is. The range is healed once this has resolved, and not if it rejects. @throws VfsError
   */
  healing(): Promise<void>;
}

/** Nobody. */
export const NO_FOLLOWER: Follower = {
  sealed: () => undefined,
  flushing: () => Promise.resolve(),
  flushed: () => undefined,
  damaged: () => undefined,
  healing: () => Promise.resolve(),
};
