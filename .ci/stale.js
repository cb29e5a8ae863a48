// Fails when a committed file that is generated differs from what generates it, or when generated output was committed.
// `node .ci/stale.js --write` brings the files up to date.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { settingRows } from '../node/src/cli/settings.ts';

const root = fileURLToPath(new URL('../', import.meta.url));

function settingsPage() {
  const cell = (text) => text.replaceAll('|', '\\|');
  const rows = settingRows().map(
    ({ name, flag, variable, allowed, fallback, about }) =>
      `| \`${name}\` | \`${flag}\` | \`${variable}\` | ${cell(allowed)} | ${cell(fallback)} | ${cell(about)} |`,
  );
  return `${[
    '# Settings of a node',
    '',
    'One YAML file (`coterie node --config FILE`), variables over it, flags over both. An unknown name or a value out of range stops the start.',
    'Sizes may be written as `64KiB`, `512MiB`, `4GiB`. This page is generated: `make format`.',
    '',
    '| setting | flag | variable | allowed | default | meaning |',
    '|---|---|---|---|---|---|',
    ...rows,
  ].join('\n')}\n`;
}

const pages = [['docs/SETTINGS.md', settingsPage()]];
let stale = 0;
for (const [path, wanted] of pages) {
  if (process.argv.includes('--write')) writeFileSync(root + path, wanted);
  else if (readFileSync(root + path, 'utf8') !== wanted) {
    console.error(`${path} is stale: run make format`);
    stale += 1;
  }
}

const tracked = execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).split('\n');
for (const path of tracked.filter((name) => /(^|\/)(dist|gen|out|node_modules)\/|\.tsbuildinfo$/.test(name))) {
  console.error(`${path} is generated and must not be committed`);
  stale += 1;
}
process.exitCode = stale === 0 ? 0 : 1;
