/** Numbers of the requests between nodes (see proto/peer.proto and proto/repair.proto). Append-only: a number is never used again for something else. */

export const MESSAGE = {
  readValue: 16,
  readDigest: 17,
  write: 18,
  coordinate: 19,
  list: 20,
  copy: 21,
  notice: 22,
  gossip: 23,
  treeRoots: 32,
  treeNodes: 33,
  leafItems: 34,
  fetch: 35,
  missed: 36,
  strongRead: 40,
  strongPrepare: 41,
  strongAccept: 42,
  hint: 50,
  readHint: 51,
  collect: 60,
} as const;

/** What a node that is well answers at once, by itself: a late answer tells that it is not. */
export const PROMPT: ReadonlySet<number> = new Set([
  MESSAGE.readValue,
  MESSAGE.readDigest,
  MESSAGE.write,
  MESSAGE.gossip,
  MESSAGE.strongRead,
]);
