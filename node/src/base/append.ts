/**
 * Adds to a list that is to have few elements, most often one: the first comes in a list of its own length, where a push onto an empty one makes room
 * for 17. `undefined` is the empty list.
 */
export function append<T>(list: T[] | undefined, item: T): T[] {
  if (list === undefined) return [item];
  list.push(item);
  return list;
}
