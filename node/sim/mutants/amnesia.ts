/**
 * The bug "dot reused after amnesia" (riak_kv #679, #1094, #1643): a store that lost its disk comes back as who it was, with its counters at
 * zero, and coordinates at once. What it writes then carries dots that its peers have seen, so to them it is long dead.
 *
 * Done from outside: on an empty disk the machine's random numbers are those of its first start, so that store id, actor and boot are the
 * same ones again; and the store coordinates before it has synchronised.
 */

import { crc32 } from 'node:zlib';
import type { NodeOptions } from '../../src/runtime/options.ts';
import { type Machine, STORE_DIRECTORY } from '../machine.ts';
import { Dice } from '../world/dice.ts';

export function withAmnesia(options: NodeOptions, machine: Machine): NodeOptions {
  const policies = { ...options.policies, coordinates: (): boolean => true };
  if (machine.volume.medium.find(`${STORE_DIRECTORY}/identity`) !== undefined) return { ...options, policies };
  return { ...options, policies, env: { ...options.env, random: new Dice(crc32(machine.name)) } };
}

/** The bug "restored store keeps its actor": a store whose disk was replaced by an older one goes on as the actor that it was then, from the counters of then. */
export function withOldActor(options: NodeOptions, machine: Machine): NodeOptions {
  if (machine.impaired !== 'lost' || machine.volume.medium.find(`${STORE_DIRECTORY}/identity`) === undefined) return options;
  return { ...options, policies: { ...options.policies, bootActor: (_proposed, before) => before } };
}
