/** Numbers of the requests between nodes (see proto/peer.proto). Append-only: a number is never used again for something else. */

export const MESSAGE = {
  readValue: 16,
  readDigest: 17,
  write: 18,
  coordinate: 19,
  list: 20,
  copy: 21,
  notice: 22,
} as const;
