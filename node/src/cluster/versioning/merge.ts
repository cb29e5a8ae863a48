import type { KvObject } from './object.ts';

export function merge(a: KvObject, b: KvObject): KvObject {
  throw new Error(`not yet: ${String(a === b)}`);
}

export type Comparison = 'equal' | 'dominates' | 'dominated' | 'concurrent';

export function compare(a: KvObject, b: KvObject): Comparison {
  throw new Error(`not yet: ${String(a === b)}`);
}
