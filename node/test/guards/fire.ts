/**
 * Breaks each guard of the repository on purpose, outside the tree, and reports which guard said what: the last line is JSON,
 * `{"<case>": ["<rule>", …]}`. The cases are small files put where the rule applies.
 */

import { ESLint } from 'eslint';
import tseslint from 'typescript-eslint';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const found: Record<string, string[]> = {};

/** Room and code that lint must refuse there. */
const LINT_CASES: readonly (readonly [name: string, path: string, code: string])[] = [
  ['Date in runtime', 'runtime/probe.ts', 'export const now = Date.now();'],
  ['Math.random in cluster', 'cluster/ring/probe.ts', 'export const x = Math.random();'],
  ['Math.log in cluster', 'cluster/ring/probe.ts', 'export const x = Math.log(2);'],
  ['crypto in api', 'api/probe.ts', 'export const id = crypto.randomUUID();'],
  ['node:crypto in runtime', 'runtime/probe.ts', "import { randomBytes } from 'node:crypto';\nexport const id = randomBytes(1);"],
  ['timer in transport', 'transport/probe.ts', 'setTimeout(() => undefined, 1);'],
  ['fs in storage', 'storage/probe.ts', "import { readFileSync } from 'node:fs';\nexport const text = readFileSync('x');"],
  ['bare fs in storage', 'storage/probe.ts', "import { readFileSync } from 'fs';\nexport const text = readFileSync('x');"],
  ['fs/promises in storage', 'storage/probe.ts', "import { readFile } from 'node:fs/promises';\nexport const text = readFile('x');"],
  ['net in runtime', 'runtime/probe.ts', "import { connect } from 'node:net';\nexport const c = connect(1);"],
  ['process in telemetry', 'telemetry/probe.ts', 'export const pid = process.pid;'],
  ['node:buffer in cluster', 'cluster/probe.ts', "import { Buffer } from 'node:buffer';\nexport const b = Buffer.alloc(1);"],
  ['async in cluster', 'cluster/quorum/probe.ts', 'export const f = async (): Promise<void> => undefined;'],
  ['dynamic import in storage', 'storage/probe.ts', "export const m = import('./x.ts');"],
  ['any in base', 'base/probe.ts', 'export const x: any = 1;'],
];

async function lint(): Promise<void> {
  const eslint = new ESLint({
    cwd: ROOT,
    overrideConfig: [tseslint.configs.disableTypeChecked, { languageOptions: { parserOptions: { projectService: false, project: null } } }],
  });
  for (const [name, path, code] of LINT_CASES) {
    const [result] = await eslint.lintText(`${code}\n`, { filePath: join(ROOT, 'node/src', path) });
    found[`lint: ${name}`] = [...new Set((result?.messages ?? []).map((message) => message.ruleId ?? message.message))];
  }
}

/** From, to, and what stands there. */
const ARROW_CASES: readonly (readonly [name: string, files: Readonly<Record<string, string>>])[] = [
  ['storage to cluster', { 'src/storage/probe.ts': "import '../cluster/probe.ts';", 'src/cluster/probe.ts': '' }],
  ['cluster to storage', { 'src/cluster/probe.ts': "import '../storage/probe.ts';", 'src/storage/probe.ts': '' }],
  ['cluster to env', { 'src/cluster/probe.ts': "import '../env/probe.ts';", 'src/env/probe.ts': '' }],
  ['base to env', { 'src/base/probe.ts': "import '../env/probe.ts';", 'src/env/probe.ts': '' }],
  ['transport to storage', { 'src/transport/probe.ts': "import '../storage/probe.ts';", 'src/storage/probe.ts': '' }],
  ['runtime to api', { 'src/runtime/probe.ts': "import '../api/probe.ts';", 'src/api/probe.ts': '' }],
  ['api to storage', { 'src/api/probe.ts': "import '../storage/probe.ts';", 'src/storage/probe.ts': '' }],
  ['env-node to runtime', { 'src/env-node/probe.ts': "import '../runtime/probe.ts';", 'src/runtime/probe.ts': '' }],
  ['cli to runtime', { 'src/cli/probe.ts': "import '../runtime/probe.ts';", 'src/runtime/probe.ts': '' }],
  ['sim to env-node', { 'sim/probe.ts': "import '../src/env-node/probe.ts';", 'src/env-node/probe.ts': '' }],
  ['src to sim', { 'src/runtime/probe.ts': "import '../../sim/probe.ts';", 'sim/probe.ts': '' }],
  ['room to main', { 'src/api/probe.ts': "import '../main.ts';", 'src/main.ts': '' }],
  ['cycle', { 'src/base/probe.ts': "import './other.ts';", 'src/base/other.ts': "import './probe.ts';" }],
  ['dead file', { 'src/base/probe.ts': 'export const x: number = 1;' }],
];

function write(directory: string, files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    const whole = join(directory, 'node', path);
    mkdirSync(dirname(whole), { recursive: true });
    writeFileSync(whole, `${text}\n`);
  }
}

function arrows(directory: string): void {
  for (const file of ['.dependency-cruiser.cjs', 'tsconfig.base.json']) cpSync(join(ROOT, file), join(directory, file));
  for (const [name, files] of ARROW_CASES) {
    rmSync(join(directory, 'node'), { recursive: true, force: true });
    write(directory, files);
    const program = join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs');
    const answer = spawnSync(process.execPath, [program, '--config', '.dependency-cruiser.cjs', '--output-type', 'json', 'node'], {
      cwd: directory,
    });
    const { summary } = JSON.parse(answer.stdout.toString()) as { summary: { violations: { rule: { name: string } }[] } };
    found[`arrow: ${name}`] = [...new Set(summary.violations.map(({ rule }) => rule.name))];
  }
}

/** What must not even type-check in the pure rooms. */
const TYPE_CASES: readonly (readonly [name: string, room: string, code: string])[] = [
  ['timer in base', 'base', 'setTimeout(() => undefined, 1);'],
  ['Buffer in cluster', 'cluster', 'export const b: number = Buffer.alloc(1).length;'],
  ['process in env', 'env', 'export const p: number = process.pid;'],
  ['node:fs in cluster', 'cluster', "import { readFileSync } from 'node:fs';\nexport const r: unknown = readFileSync;"],
];

function types(directory: string): void {
  cpSync(join(ROOT, 'tsconfig.base.json'), join(directory, 'tsconfig.base.json'));
  for (const [name, room, code] of TYPE_CASES) {
    rmSync(join(directory, 'node'), { recursive: true, force: true });
    write(directory, { [`src/${room}/probe.ts`]: code });
    const config = { extends: '../../../tsconfig.base.json', compilerOptions: { noEmit: true }, include: ['./**/*.ts'] };
    const { compilerOptions } = JSON.parse(roomConfig(room)) as { compilerOptions: { types: string[] } };
    writeFileSync(
      join(directory, 'node/src', room, 'tsconfig.json'),
      JSON.stringify({ ...config, compilerOptions: { ...config.compilerOptions, types: compilerOptions.types } }),
    );
    const answer = spawnSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', join('node/src', room)], {
      cwd: directory,
    });
    found[`types: ${name}`] = [...new Set(answer.stdout.toString().match(/TS\d+/g) ?? [])];
  }
}

function roomConfig(room: string): string {
  return spawnSync(process.execPath, [
    join(ROOT, 'node_modules/typescript/bin/tsc'),
    '--showConfig',
    '-p',
    join(ROOT, 'node/src', room),
  ]).stdout.toString();
}

const directory = mkdtempSync(join(tmpdir(), 'coterie-guards-'));
try {
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  await lint();
  arrows(directory);
  types(directory);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.stdout.write(`${JSON.stringify(found)}\n`);
