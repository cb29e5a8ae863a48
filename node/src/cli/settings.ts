/**
 * The settings of a node: one YAML file, `COTERIE_*` variables over it, flags over both. One table says all there is to know of each setting;
 * the parser, the help text and docs/SETTINGS.md come from it.
 *
 * Invariant: a name that is not in the table, or a value outside its range, stops the start with SETTING_UNKNOWN or SETTING_INVALID and says
 * where it stood and what is allowed.
 */

import { parse as parseYaml } from 'yaml';

import { CoterieError } from '../base/errors.ts';

interface Described {
  readonly about: string;
  /** Never shown: not in help, errors or logs. */
  readonly secret?: boolean;
}

type Setting = Described &
  (
    | { readonly type: 'text'; readonly fallback?: string }
    | { readonly type: 'choice'; readonly allowed: readonly string[]; readonly fallback: string }
    | { readonly type: 'whole'; readonly least: number; readonly most: number; readonly fallback?: number }
    | { readonly type: 'switch'; readonly fallback: boolean }
  );

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** Settings as read; what is `undefined` here has its default from the topology. Sizes are in bytes, times in milliseconds. */
export interface NodeSettings {
  readonly name: string;
  readonly dataDir: string;
  readonly topology: string | undefined;
  readonly host: string | undefined;
  readonly respPort: number | undefined;
  readonly httpPort: number | undefined;
  readonly peerPort: number | undefined;
  readonly insecure: boolean;
  readonly password: string | undefined;
  readonly fsync: 'always' | 'interval';
  readonly fsyncIntervalMs: number;
  readonly maxPairBytes: number;
  readonly timeoutMs: number;
  readonly memtableBytes: number;
  readonly cacheBytes: number;
  readonly openFiles: number;
  readonly hintBytes: number;
  readonly maxConnections: number;
  readonly repairIntervalMs: number;
  readonly scrubIntervalMs: number;
  readonly collectIntervalMs: number;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

export type SettingName = keyof NodeSettings;

/** Every setting there is. Sizes may be written with a unit: `64KiB`, `512MiB`, `4GiB`. */
const SETTINGS: Readonly<Record<SettingName, Setting>> = {
  name: { type: 'text', fallback: 'node-1', about: 'The member slot of the topology that this node fills' },
  dataDir: { type: 'text', fallback: './coterie-data', about: 'Directory of the data; made if missing' },
  topology: { type: 'text', about: 'Topology document (JSON); without one the node is a cluster of its own' },
  host: { type: 'text', about: 'Address to listen on; the topology’s by default, 127.0.0.1 without one' },
  respPort: { type: 'whole', least: 0, most: 65_535, about: 'Port of the Redis protocol; the topology’s by default, 6379 without one' },
  httpPort: { type: 'whole', least: 0, most: 65_535, about: 'Port of HTTP; the topology’s by default, 8400 without one' },
  peerPort: { type: 'whole', least: 0, most: 65_535, about: 'Port for other nodes; the topology’s by default, 7400 without one' },
  insecure: { type: 'switch', fallback: false, about: 'Allow clients and peers beyond loopback without credentials' },
  password: { type: 'text', secret: true, about: 'What clients must present: RESP AUTH, HTTP Authorization: Bearer' },
  fsync: { type: 'choice', allowed: ['always', 'interval'], fallback: 'always', about: 'When a write counts as durable' },
  fsyncIntervalMs: { type: 'whole', least: 1, most: 60_000, fallback: 1000, about: 'With fsync: interval, how often the log is synced' },
  maxPairBytes: { type: 'whole', least: 1_024, most: 1_048_576, fallback: 10_240, about: 'Largest key and value together' },
  timeoutMs: { type: 'whole', least: 1, most: 60_000, fallback: 5000, about: 'Deadline of an operation that names none' },
  memtableBytes: {
    type: 'whole',
    least: 65_536,
    most: 1_073_741_824,
    fallback: 33_554_432,
    about: 'Memory of one memtable, index included',
  },
  cacheBytes: {
    type: 'whole',
    least: 65_536,
    most: 68_719_476_736,
    fallback: 134_217_728,
    about: 'Memory of the cache of entries and blocks',
  },
  openFiles: { type: 'whole', least: 16, most: 65_536, fallback: 512, about: 'Table files held open at once' },
  hintBytes: {
    type: 'whole',
    least: 1_048_576,
    most: 1_099_511_627_776,
    fallback: 1_073_741_824,
    about: 'Bytes of writes kept for replicas that are away; when full, further ones are refused',
  },
  maxConnections: { type: 'whole', least: 1, most: 65_536, fallback: 4096, about: 'Client connections of each protocol at once' },
  repairIntervalMs: {
    type: 'whole',
    least: 0,
    most: 2_147_483_647,
    fallback: 3_600_000,
    about: 'How often two replicas compare all they share; 0: only when asked to',
  },
  scrubIntervalMs: {
    type: 'whole',
    least: 0,
    most: 31_536_000_000,
    fallback: 604_800_000,
    about: 'Within how long everything on the disk is reread; 0: only when asked to',
  },
  collectIntervalMs: {
    type: 'whole',
    least: 1000,
    most: 86_400_000,
    fallback: 600_000,
    about: 'How often deleted and expired keys are collected',
  },
  logLevel: { type: 'choice', allowed: ['debug', 'info', 'warn', 'error'], fallback: 'info', about: 'Least important events logged' },
};

const NAMES = Object.keys(SETTINGS) as SettingName[];
const SIZE = /^(\d+)\s*(KiB|MiB|GiB)$/;
const UNITS: Readonly<Record<string, number>> = { KiB: KIB, MiB: MIB, GiB: GIB };

function isName(name: string): name is SettingName {
  return Object.hasOwn(SETTINGS, name);
}

/** `respPort` as a flag (`resp-port`). */
export function flagOf(name: SettingName): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `respPort` as a variable (`COTERIE_RESP_PORT`). */
export function variableOf(name: SettingName): string {
  return `COTERIE_${flagOf(name).replaceAll('-', '_').toUpperCase()}`;
}

/** What a setting may hold, in words. */
export function allowedValues(name: SettingName): string {
  const setting = SETTINGS[name];
  switch (setting.type) {
    case 'text':
      return 'text';
    case 'choice':
      return setting.allowed.join(' | ');
    case 'switch':
      return 'true | false';
    case 'whole':
      return `${setting.least} to ${setting.most}`;
  }
}

function invalid(name: SettingName, value: unknown, where: string): CoterieError {
  const setting = SETTINGS[name];
  const shown = setting.secret === true ? 'what it is' : JSON.stringify(value);
  return new CoterieError('SETTING_INVALID', `${where}: ${name} must be ${allowedValues(name)}, not ${shown}`);
}

function checked(name: SettingName, value: unknown, where: string): string | number | boolean {
  const setting = SETTINGS[name];
  switch (setting.type) {
    case 'text':
      if (typeof value === 'string' && value !== '') return value;
      if (typeof value === 'number') return String(value);
      throw invalid(name, value, where);
    case 'choice':
      if (typeof value === 'string' && setting.allowed.includes(value)) return value;
      throw invalid(name, value, where);
    case 'switch':
      if (typeof value === 'boolean') return value;
      if (value === 'true' || value === '') return true;
      if (value === 'false') return false;
      throw invalid(name, value, where);
    case 'whole': {
      const number = typeof value === 'string' ? wholeFromText(value) : value;
      if (typeof number === 'number' && Number.isSafeInteger(number) && number >= setting.least && number <= setting.most) return number;
      throw invalid(name, value, where);
    }
  }
}

function wholeFromText(text: string): number {
  const size = SIZE.exec(text);
  if (size !== null) return Number(size[1]) * (UNITS[size[2] ?? ''] ?? Number.NaN);
  return /^\d+$/.test(text) ? Number(text) : Number.NaN;
}

function unknown(name: string, where: string): CoterieError {
  return new CoterieError('SETTING_UNKNOWN', `${where}: there is no setting ${JSON.stringify(name)}; there are ${NAMES.join(', ')}`);
}

export interface SettingSources {
  /** The text of the YAML file and its path, if there is one. */
  readonly file?: { readonly path: string; readonly text: string };
  /** The process's environment; only `COTERIE_*` is looked at. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Flags by setting name. */
  readonly flags: Readonly<Record<string, string | boolean>>;
}

/** Variables that name no node setting but steer the command line. */
const OTHER_VARIABLES: ReadonlySet<string> = new Set(['COTERIE_ENDPOINT', 'COTERIE_CONFIG']);

/**
 * The settings in force.
 *
 * @throws CoterieError SETTING_UNKNOWN, SETTING_INVALID
 */
export function loadSettings(sources: SettingSources): NodeSettings {
  const values = new Map<SettingName, string | number | boolean>();
  for (const name of NAMES) {
    const setting = SETTINGS[name];
    if (setting.fallback !== undefined) values.set(name, setting.fallback);
  }
  if (sources.file !== undefined) fromYaml(sources.file.text, sources.file.path, values);
  const byVariable = new Map(NAMES.map((name) => [variableOf(name), name]));
  for (const [variable, text] of Object.entries(sources.variables)) {
    if (!variable.startsWith('COTERIE_') || OTHER_VARIABLES.has(variable) || text === undefined) continue;
    const name = byVariable.get(variable);
    if (name === undefined) throw unknown(variable, 'the environment');
    values.set(name, checked(name, text, `variable ${variable}`));
  }
  for (const [name, value] of Object.entries(sources.flags)) {
    if (!isName(name)) throw unknown(name, 'the flags');
    values.set(name, checked(name, value, `flag --${flagOf(name)}`));
  }
  // Each value was checked against the table that the type is derived from.
  const settings: Partial<Record<SettingName, string | number | boolean | undefined>> = Object.fromEntries(
    NAMES.map((name) => [name, values.get(name)]),
  );
  return settings as NodeSettings;
}

function fromYaml(text: string, path: string, values: Map<SettingName, string | number | boolean>): void {
  let document: unknown;
  try {
    document = parseYaml(text);
  } catch (error) {
    const reason = (error as Partial<Error>).message?.split('\n')[0] ?? '';
    throw new CoterieError('SETTING_INVALID', `${path}: not YAML: ${reason}`, { cause: error });
  }
  if (document === null || document === undefined) return;
  if (typeof document !== 'object' || Array.isArray(document)) {
    throw new CoterieError('SETTING_INVALID', `${path}: settings are a mapping of names to values`);
  }
  for (const [name, value] of Object.entries(document)) {
    if (!isName(name)) throw unknown(name, path);
    values.set(name, checked(name, value, path));
  }
}

export interface SettingRow {
  readonly name: SettingName;
  readonly flag: string;
  readonly variable: string;
  /** What stands for the value in help texts. */
  readonly placeholder: string;
  readonly allowed: string;
  /** `''` where there is no fixed default. */
  readonly fallback: string;
  readonly about: string;
}

/** The table of settings, for the help and the documentation. */
export function settingRows(): readonly SettingRow[] {
  return NAMES.map((name) => {
    const setting = SETTINGS[name];
    return {
      name,
      flag: `--${flagOf(name)}`,
      variable: variableOf(name),
      placeholder:
        setting.type === 'choice' ? setting.allowed.join('|') : { text: 'TEXT', whole: 'NUMBER', switch: 'true|false' }[setting.type],
      allowed: allowedValues(name),
      fallback: setting.fallback === undefined ? '' : String(setting.fallback),
      about: setting.about,
    };
  });
}
