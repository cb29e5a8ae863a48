import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { expect, test } from '@jest/globals';

import { statusOf } from '../../src/api/http/problem.ts';
import { COMMANDS } from '../../src/api/resp/table.ts';
import { ERROR_CODES, type ErrorCode } from '../../src/base/errors.ts';

const read = (path: string): string => readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8');
const API_DOC = read('../../../docs/API.md');

/** Codes that no client protocol answers: they stop a start, or stay between nodes. */
const NOT_FOR_CLIENTS: ReadonlySet<ErrorCode> = new Set([
  'DATA_DIR_IN_USE',
  'DATA_DIR_FOREIGN',
  'DATA_DIR_NEWER',
  'SETTING_UNKNOWN',
  'SETTING_INVALID',
  'CLUSTER_TOO_SMALL',
  'PORT_IN_USE',
  'FRAME_INVALID',
  'FRAME_TOO_LARGE',
  'PEER_FOREIGN',
  'PEER_INCOMPATIBLE',
  'PEER_REMOVED',
]);

test('docs/API.md names every command', () => {
  expect(
    COMMANDS.map(({ name }) => name.toUpperCase()).filter(
      (name) => !new RegExp(`\`${name.replace('.', '\\.')}\\b`).test(API_DOC) && !API_DOC.includes(`\n${name} `),
    ),
  ).toEqual([]);
});

test('docs/API.md names every code that clients see, with its status', () => {
  const [, table = ''] = API_DOC.split('\n| code ');
  const rows = table.split('\n\n')[0]?.split('\n').slice(2) ?? [];
  for (const code of ERROR_CODES) {
    if (NOT_FOR_CLIENTS.has(code)) continue;
    const row = rows.find((line) => line.split('|')[1]?.includes(`\`${code}\``) === true) ?? '';
    expect({ code, row, status: row.split('|')[2]?.includes(String(statusOf(code))) }).toEqual({ code, row, status: true });
  }
});
