/** All commands, in the order that COMMAND lists them. */

import type { Command } from './command.ts';
import { AUTH, CLIENT, ECHO, HELLO, PING, QUIT } from './commands/connection.ts';
import { EXPIRE, EXPIREAT, EXPIRETIME, PERSIST, PEXPIRE, PEXPIREAT, PEXPIRETIME, PTTL, TTL } from './commands/expiry.ts';
import { DBSIZE, SCAN, SELECT } from './commands/keyspace.ts';
import { COMMAND, CONFIG, INFO } from './commands/server.ts';
import { DEL, EXISTS, GET, MGET, MSET, SET, STRLEN, TYPE, UNLINK } from './commands/strings.ts';
import { KV_DEL, KV_GET, KV_PUT } from './commands/versions.ts';

export const COMMANDS: readonly Command[] = [
  PING,
  ECHO,
  HELLO,
  AUTH,
  SELECT,
  GET,
  SET,
  MGET,
  MSET,
  DEL,
  UNLINK,
  EXISTS,
  STRLEN,
  TTL,
  PTTL,
  EXPIRETIME,
  PEXPIRETIME,
  EXPIRE,
  PEXPIRE,
  EXPIREAT,
  PEXPIREAT,
  PERSIST,
  TYPE,
  SCAN,
  DBSIZE,
  INFO,
  COMMAND,
  CONFIG,
  CLIENT,
  QUIT,
  KV_GET,
  KV_PUT,
  KV_DEL,
];
