import { expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Which guard must speak for each case of fire.ts. */
const EXPECTED: Readonly<Record<string, string>> = {
  'lint: Date in runtime': 'no-restricted-globals',
  'lint: Math.random in cluster': 'no-restricted-properties',
  'lint: Math.log in cluster': 'no-restricted-properties',
  'lint: crypto in api': 'no-restricted-globals',
  'lint: node:crypto in runtime': 'no-restricted-imports',
  'lint: timer in transport': 'no-restricted-globals',
  'lint: fs in storage': 'no-restricted-imports',
  'lint: bare fs in storage': 'no-restricted-imports',
  'lint: fs/promises in storage': 'no-restricted-imports',
  'lint: net in runtime': 'no-restricted-imports',
  'lint: process in telemetry': 'no-restricted-globals',
  'lint: node:buffer in cluster': 'no-restricted-imports',
  'lint: async in cluster': 'no-restricted-syntax',
  'lint: dynamic import in storage': 'no-restricted-syntax',
  'lint: any in base': '@typescript-eslint/no-explicit-any',
  'arrow: storage to cluster': 'room-storage',
  'arrow: cluster to storage': 'room-cluster',
  'arrow: cluster to env': 'room-cluster',
  'arrow: base to env': 'room-base',
  'arrow: transport to storage': 'room-transport',
  'arrow: runtime to api': 'room-runtime',
  'arrow: api to storage': 'room-api',
  'arrow: env-node to runtime': 'room-env-node',
  'arrow: cli to runtime': 'room-cli-types',
  'arrow: sim to env-node': 'sim-stays-off-the-machine',
  'arrow: src to sim': 'src-knows-no-tests',
  'arrow: room to main': 'nothing-imports-main',
  'arrow: cycle': 'no-cycles',
  'arrow: dead file': 'no-orphans',
  'types: timer in base': 'TS2304',
  'types: Buffer in cluster': 'TS2591',
  'types: process in env': 'TS2591',
  'types: node:fs in cluster': 'TS2591',
};

test('each guard of the repository fires when it is broken', () => {
  const program = spawnSync(process.execPath, [fileURLToPath(new URL('fire.ts', import.meta.url))], { encoding: 'utf8' });
  const found = JSON.parse(program.stdout.trim().split('\n').at(-1) ?? '{}') as Record<string, string[]>;
  expect(Object.keys(found).sort()).toEqual(Object.keys(EXPECTED).sort());
  const silent = Object.entries(EXPECTED).filter(([name, rule]) => !(found[name] ?? []).includes(rule));
  expect(silent.map(([name, rule]) => `${name}: ${rule} did not fire, only ${JSON.stringify(found[name])}`)).toEqual([]);
}, 120_000);
