/** `coterie node`: runs one node in this process until it is told to stop. */

import { readFile } from 'node:fs/promises';

import { CoterieError } from '../base/errors.ts';
import { type CommandHelp, helpText, parseFlags, textFlag } from './flags.ts';
import { loadSettings, settingRows } from './settings.ts';
import { type Command, EXIT, type Surroundings } from './surroundings.ts';

const NODE: CommandHelp = {
  usage: 'node [--config FILE] [flags]',
  about: 'Runs a node. Without a topology it is a cluster of its own (N=1), ready for any Redis client.',
  flags: [
    { name: 'config', value: 'FILE', about: 'YAML file of settings (or $COTERIE_CONFIG)' },
    ...settingRows().map((row) => ({
      name: row.flag.slice(2),
      value: row.placeholder,
      about: row.fallback === '' ? row.about : `${row.about} (${row.fallback})`,
    })),
  ],
  notes: [
    'Every flag is also a setting of the file (--resp-port: respPort) and a variable (COTERIE_RESP_PORT); flags win over variables, variables over the file.',
  ],
};

async function run(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const parsed = parseFlags(NODE, args, { least: 0, most: 0 });
  if (parsed.values['help'] === true) {
    surroundings.out(helpText(NODE));
    return EXIT.ok;
  }
  const path = textFlag(parsed, 'config') ?? surroundings.variables['COTERIE_CONFIG'];
  const flags: Record<string, string | boolean> = {};
  for (const row of settingRows()) {
    const value = parsed.values[row.flag.slice(2)];
    if (value !== undefined) flags[row.name] = value;
  }
  const settings = loadSettings({
    ...(path === undefined ? {} : { file: { path, text: await textOf(path) } }),
    variables: surroundings.variables,
    flags,
  });
  const interrupted = surroundings.interrupted();
  const node = await surroundings.startNode(settings);
  await interrupted;
  await node.stop();
  return EXIT.ok;
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new CoterieError('SETTING_INVALID', `cannot read the settings file ${path}`, { cause: error });
  }
}

export const nodeCommand: Command = { name: 'node', about: 'Run a node', run };
