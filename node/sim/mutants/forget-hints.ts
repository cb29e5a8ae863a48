/**
 * The bug "hint lost on crash": hints are acknowledged and kept in memory only. Done from outside: whenever the node starts, its hint store is empty.
 */

import type { NodeOptions } from '../../src/runtime/options.ts';
import { type Machine, STORE_DIRECTORY } from '../machine.ts';

const HINTS = `${STORE_DIRECTORY}/hints`;

export function forgetHints(options: NodeOptions, { volume }: Machine): NodeOptions {
  const files = volume.medium.files().filter(({ path }) => path.startsWith(`${HINTS}/`));
  for (const { path } of files) volume.medium.apply({ kind: 'unlink', path });
  if (files.length > 0) volume.medium.apply({ kind: 'syncDir', path: HINTS });
  return options;
}
