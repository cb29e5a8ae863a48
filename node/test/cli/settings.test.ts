import { describe, expect, test } from '@jest/globals';

import { loadSettings, type SettingSources } from '../../src/cli/settings.ts';

function load(sources: Partial<SettingSources>): ReturnType<typeof loadSettings> {
  return loadSettings({ variables: {}, flags: {}, ...sources });
}

function refusal(sources: Partial<SettingSources>): { code: string; message: string } {
  try {
    load(sources);
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return { code, message };
  }
  throw new Error('it was accepted');
}

const file = (text: string): { file: { path: string; text: string } } => ({ file: { path: 'node.yaml', text } });

describe('settings', () => {
  test('have defaults', () => {
    expect(load({})).toMatchObject({ name: 'node-1', fsync: 'always', maxPairBytes: 10_240, respPort: undefined, insecure: false });
  });

  test('flags win over variables, variables over the file', () => {
    const sources = {
      ...file('respPort: 1\nhttpPort: 1\npeerPort: 1\n'),
      variables: { COTERIE_HTTP_PORT: '2', COTERIE_PEER_PORT: '2' },
      flags: { peerPort: '3' },
    };
    expect(load(sources)).toMatchObject({ respPort: 1, httpPort: 2, peerPort: 3 });
  });

  test('take sizes with a unit', () => {
    expect(load({ flags: { cacheBytes: '512MiB' }, ...file('memtableBytes: 64KiB') })).toMatchObject({
      cacheBytes: 536_870_912,
      memtableBytes: 65_536,
    });
  });

  test.each([
    [file('respport: 1'), 'SETTING_UNKNOWN', 'node.yaml: there is no setting "respport"; there are name, dataDir'],
    [{ variables: { COTERIE_RESPPORT: '1' } }, 'SETTING_UNKNOWN', 'the environment: there is no setting "COTERIE_RESPPORT"'],
    [{ flags: { colour: 'red' } }, 'SETTING_UNKNOWN', 'the flags: there is no setting "colour"'],
    [file('respPort: 70000'), 'SETTING_INVALID', 'node.yaml: respPort must be 0 to 65535, not 70000'],
    [file('respPort: [1]'), 'SETTING_INVALID', 'node.yaml: respPort must be 0 to 65535, not [1]'],
    [{ variables: { COTERIE_FSYNC: 'never' } }, 'SETTING_INVALID', 'variable COTERIE_FSYNC: fsync must be always | interval, not "never"'],
    [{ flags: { maxPairBytes: '2MiB' } }, 'SETTING_INVALID', 'flag --max-pair-bytes: maxPairBytes must be 1024 to 1048576, not "2MiB"'],
    [{ flags: { insecure: 'perhaps' } }, 'SETTING_INVALID', 'flag --insecure: insecure must be true | false, not "perhaps"'],
    [file('name: ""'), 'SETTING_INVALID', 'node.yaml: name must be text, not ""'],
    [file('- a\n- b'), 'SETTING_INVALID', 'node.yaml: settings are a mapping of names to values'],
    [file('a: [1'), 'SETTING_INVALID', 'node.yaml: not YAML'],
  ])('refuse %j', (sources, code, text) => {
    const refused = refusal(sources);
    expect(refused.code).toBe(code);
    expect(refused.message).toContain(text);
  });

  test('never repeat a secret', () => {
    expect(refusal(file('password: [hunter2]')).message).not.toContain('hunter2');
  });
});
