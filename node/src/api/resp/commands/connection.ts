/** Commands on the connection: PING ECHO HELLO AUTH QUIT CLIENT. */

import { CoterieError } from '../../../base/errors.ts';
import { EVERYBODY, type Identity } from '../../credentials.ts';
import { integerAt } from '../arguments.ts';
import type { Call, ClientState, Command } from '../command.ts';
import { isReplyError, ReplyError, syntaxError, wrongArity } from '../reply-error.ts';

const WRONGPASS = 'WRONGPASS invalid username-password pair or user is disabled.';
const DEFAULT_USER = 'default';

/** Printable ASCII without spaces, as Redis demands of names that CLIENT LIST shows. */
const CLIENT_NAME = /^[!-~]*$/;
const LONGEST_NAME = 1024;

export const PING: Command = {
  name: 'ping',
  arity: -1,
  group: 'connection',
  summary: 'Answer PONG, or the message given',
  since: '1.0.0',
  flags: ['fast'],
  categories: ['@fast', '@connection'],
  keys: 'none',
  writes: false,
  run(call) {
    if (call.request.argc > 2) throw wrongArity('ping');
    if (call.request.argc === 1) call.writer.simple('PONG');
    else call.writer.bulk(call.request.bytes(1));
  },
};

export const ECHO: Command = {
  name: 'echo',
  arity: 2,
  group: 'connection',
  summary: 'Answer the message given',
  since: '1.0.0',
  flags: ['loading', 'stale', 'fast'],
  categories: ['@fast', '@connection'],
  keys: 'none',
  writes: false,
  run(call) {
    call.writer.bulk(call.request.bytes(1));
  },
};

export const QUIT: Command = {
  name: 'quit',
  arity: -1,
  group: 'connection',
  summary: 'End the connection behind the replies still due',
  since: '1.0.0',
  flags: ['noscript', 'loading', 'stale', 'fast', 'no_auth', 'allow_busy'],
  categories: ['@fast', '@connection'],
  keys: 'none',
  writes: false,
  stranger: true,
  run(call) {
    call.writer.ok();
    call.end();
  },
};

/** @throws ReplyError where name and secret do not fit */
function identify(call: Call, nameIndex: number | undefined, secretIndex: number): Identity {
  const { gate } = call.shared;
  const name = nameIndex === undefined ? DEFAULT_USER : call.request.text(nameIndex);
  // As Redis without a password: its default user is admitted with any.
  const identity = gate.open ? (name === DEFAULT_USER ? EVERYBODY : undefined) : gate.admit(name, call.request.bytes(secretIndex));
  if (identity === undefined) throw new ReplyError(WRONGPASS);
  return identity;
}

export const AUTH: Command = {
  name: 'auth',
  arity: -2,
  group: 'connection',
  summary: 'Show who the client is',
  since: '1.0.0',
  flags: ['noscript', 'loading', 'stale', 'fast', 'no_auth', 'allow_busy'],
  categories: ['@fast', '@connection'],
  keys: 'none',
  writes: false,
  stranger: true,
  run(call) {
    const { argc } = call.request;
    if (argc > 3) throw syntaxError();
    if (argc === 2 && call.shared.gate.open) {
      throw new ReplyError(
        'ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?',
      );
    }
    call.admit(argc === 2 ? identify(call, undefined, 1) : identify(call, 1, 2));
    call.writer.ok();
  },
};

function checkName(name: string): void {
  if (!CLIENT_NAME.test(name)) throw new ReplyError('ERR Client names cannot contain spaces, newlines or special characters.');
  if (name.length > LONGEST_NAME) throw new CoterieError('REQUEST_INVALID', `a client's name has at most ${LONGEST_NAME} bytes`);
}

export const HELLO: Command = {
  name: 'hello',
  arity: -1,
  group: 'connection',
  summary: 'Agree on the protocol, 2 or 3, and optionally show who the client is',
  since: '6.0.0',
  flags: ['noscript', 'loading', 'stale', 'fast', 'no_auth', 'allow_busy'],
  categories: ['@fast', '@connection'],
  keys: 'none',
  writes: false,
  stranger: true,
  run(call) {
    const { request, client } = call;
    const protocol = request.argc > 1 ? wantedProtocol(call) : client.protocol;
    let identity = client.identity;
    let name: string | undefined;
    for (let index = 2; index < request.argc;) {
      const option = request.text(index).toLowerCase();
      if (option === 'auth' && index + 2 < request.argc) {
        identity = identify(call, index + 1, index + 2);
        index += 3;
      } else if (option === 'setname' && index + 1 < request.argc) {
        name = request.text(index + 1);
        checkName(name);
        index += 2;
      } else {
        throw new ReplyError(`ERR Syntax error in HELLO option '${request.text(index)}'`);
      }
    }
    if (identity === undefined) {
      throw new ReplyError(
        'NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time',
      );
    }
    call.admit(identity);
    if (name !== undefined) client.name = name;
    call.speak(protocol);
    writeHello(call);
  },
};

function wantedProtocol(call: Call): 2 | 3 {
  let version: number;
  try {
    version = integerAt(call.request, 1);
  } catch (error) {
    throw isReplyError(error) ? new ReplyError('ERR Protocol version is not an integer or out of range') : error;
  }
  if (version !== 2 && version !== 3) throw new ReplyError('NOPROTO unsupported protocol version');
  return version;
}

function writeHello(call: Call): void {
  const { writer, client, shared } = call;
  writer.map(7);
  writer.bulkText('server');
  writer.bulkText('coterie');
  writer.bulkText('version');
  writer.bulkText(shared.facts.version);
  writer.bulkText('proto');
  writer.integer(client.protocol);
  writer.bulkText('id');
  writer.integer(client.id);
  writer.bulkText('mode');
  // Every node answers for every key, so to a client it is one server.
  writer.bulkText('standalone');
  writer.bulkText('role');
  writer.bulkText('master');
  writer.bulkText('modules');
  writer.array(0);
}

/** Subcommands of CLIENT that would need what Coterie does not have. */
const REFUSED_CLIENT: Readonly<Record<string, string>> = {
  kill: 'clients end their own connections',
  pause: 'a node does not hold its clients up',
  unpause: 'a node does not hold its clients up',
  reply: 'every request is answered',
  tracking: 'nothing is told to clients unasked',
  trackinginfo: 'nothing is told to clients unasked',
  caching: 'nothing is told to clients unasked',
  getredir: 'nothing is told to clients unasked',
  unblock: 'no command blocks',
  'no-evict': 'nothing is evicted',
  'no-touch': 'nothing is evicted',
};

export const CLIENT: Command = {
  name: 'client',
  arity: -2,
  group: 'connection',
  summary: 'SETNAME, GETNAME, ID, INFO, LIST, SETINFO: about this connection and the others of this node',
  since: '2.4.0',
  flags: [],
  categories: ['@slow'],
  keys: 'none',
  writes: false,
  run(call) {
    const { request, client, writer } = call;
    const given = request.text(1);
    const sub = given.toLowerCase();
    const exactly = (argc: number): void => {
      if (request.argc !== argc) throw wrongArity(`client|${sub}`);
    };
    switch (sub) {
      case 'setname':
        exactly(3);
        checkName(request.text(2));
        client.name = request.text(2);
        writer.ok();
        return;
      case 'getname':
        exactly(2);
        if (client.name === '') writer.nil();
        else writer.bulkText(client.name);
        return;
      case 'id':
        exactly(2);
        writer.integer(client.id);
        return;
      case 'info':
        exactly(2);
        writer.verbatim(`${describe(client, call.node.nowMs())}\n`);
        return;
      case 'list':
        if (request.argc > 2) throw new CoterieError('UNSUPPORTED', 'CLIENT LIST with a filter is not offered');
        writer.verbatim([...call.shared.clients()].map((other) => `${describe(other, call.node.nowMs())}\n`).join(''));
        return;
      case 'setinfo':
        exactly(4);
        setInfo(call);
        return;
      default: {
        const reason = REFUSED_CLIENT[sub];
        if (reason !== undefined) throw new CoterieError('UNSUPPORTED', `CLIENT ${sub.toUpperCase()} is not offered: ${reason}`);
        throw new ReplyError(`ERR unknown subcommand '${given.slice(0, 128)}'. Try CLIENT HELP.`);
      }
    }
  },
};

function setInfo(call: Call): void {
  const { request, client } = call;
  const attribute = request.text(2).toLowerCase();
  const value = request.text(3);
  if (attribute !== 'lib-name' && attribute !== 'lib-ver') {
    throw new ReplyError(`ERR Unrecognized option '${request.text(2).slice(0, 128)}'`);
  }
  if (!CLIENT_NAME.test(value) || value.length > LONGEST_NAME) {
    throw new ReplyError(`ERR ${attribute} cannot contain spaces, newlines or special characters.`);
  }
  if (attribute === 'lib-name') client.libraryName = value;
  else client.libraryVersion = value;
  call.writer.ok();
}

function describe(client: ClientState, nowMs: number): string {
  const seconds = (sinceMs: number): number => Math.max(0, Math.floor((nowMs - sinceMs) / 1000));
  return [
    `id=${client.id}`,
    `addr=${client.remote}`,
    `name=${client.name}`,
    `age=${seconds(client.sinceMs)}`,
    `idle=${seconds(client.lastMs)}`,
    'flags=N',
    `db=${client.bucket}`,
    `cmd=${client.lastCommand}`,
    `user=${client.identity?.name ?? ''}`,
    `lib-name=${client.libraryName}`,
    `lib-ver=${client.libraryVersion}`,
    `resp=${client.protocol}`,
  ].join(' ');
}
