/** Randomness, injected. The real one is cryptographic; the simulator's comes from the seed. */

export interface Random {
  /** An unsigned 32-bit integer, uniform. */
  u32(): number;
  /** `length` uniform bytes. */
  bytes(length: number): Uint8Array;
}
