/**
 * Where Coterie answers otherwise than redis-server on purpose. The transcripts' test holds that these steps differ, and how, and that no
 * other does; docs/API.md lists the sentences, and a test holds the two lists equal.
 */

export interface Difference {
  /** As docs/API.md says it. */
  readonly sentence: string;
  /** What Coterie answers, by the step's line. A step of that line is excused in every case, or in those named. */
  readonly steps: readonly { readonly line: RegExp; readonly cases?: RegExp; readonly ours: RegExp }[];
}

const UNSUPPORTED = /^-ERR UNSUPPORTED /;

export const DIFFERENCES: readonly Difference[] = [
  {
    sentence:
      'A key has 1 to 1,024 bytes, key and value together at most 10 KiB unless configured otherwise. Redis takes an empty key, and 512 MB.',
    steps: [{ line: /^> (?:SET|GET) ""/, ours: /^-ERR KEY_EMPTY a key has 1 to 1024 bytes/ }],
  },
  {
    sentence: '`SELECT` takes `0` or the name of a bucket; other numbers are out of range.',
    steps: [
      { line: /^> SELECT 1$/, ours: /^-ERR DB index is out of range\r\n$/ },
      { line: /^> SELECT x$/, ours: /^-ERR BUCKET_UNKNOWN / },
    ],
  },
  {
    sentence:
      '`HELLO` says that the server is `coterie`, with its own version, always `standalone` and `master`: every node answers for every key.',
    steps: [{ line: /^> HELLO/, ours: /\$6\r\nserver\r\n\$7\r\ncoterie\r\n\$7\r\nversion\r\n/ }],
  },
  {
    sentence:
      '`SET` with `NX`, `XX` or `GET`, and `EXPIRE` and its kin with `NX`, `XX`, `GT` or `LT`, are refused: to decide by what was there takes consensus.',
    steps: [
      { line: /^> SET k \w (?:NX|XX|GET|EX foo NX)$/, cases: /^conditional set$/, ours: UNSUPPORTED },
      { line: /^> EXPIRE k \d+ (?:NX|XX|GT|LT)$/, cases: /^conditional expiry$/, ours: UNSUPPORTED },
    ],
  },
  {
    sentence: 'The latest expiry is 2^48 ms after 1970, in the year 10889; a later one is an invalid expire time.',
    steps: [{ line: /^> SET k v PX 9000000000000000$/, ours: /^-ERR invalid expire time in 'set' command\r\n$/ }],
  },
  {
    sentence:
      'A cursor of `SCAN` is one that `SCAN` answered; what is no number below 2^64 is an invalid cursor, where Redis reads what it can.',
    steps: [{ line: /^> SCAN -1$/, ours: /^-ERR invalid cursor\r\n$/ }],
  },
  {
    sentence: "`INFO` has Redis' sections with the fields that clients look for, and Coterie's own.",
    steps: [{ line: /^> INFO(?: persistence)?$/, ours: /^\$\d+\r\n# / }],
  },
  {
    sentence:
      '`CONFIG GET` knows what clients ask for: `appendonly databases maxclients maxmemory maxmemory-policy proto-max-bulk-len save timeout`; `CONFIG SET`, `REWRITE` and `RESETSTAT` are refused.',
    steps: [
      { line: /^> CONFIG GET databases$/, ours: /^\*2\r\n\$9\r\ndatabases\r\n\$1\r\n1\r\n$/ },
      { line: /^> CONFIG GET appendonly$/, ours: /^\*2\r\n\$10\r\nappendonly\r\n\$3\r\nyes\r\n$/ },
      { line: /^> CONFIG (?:SET|RESETSTAT)/, ours: UNSUPPORTED },
    ],
  },
  {
    sentence: "`COMMAND` describes Coterie's commands only, without tips, key specifications, arguments and subcommands.",
    steps: [
      { line: /^> COMMAND COUNT$/, ours: /^:33\r\n$/ },
      {
        line: /^> COMMAND INFO get$/,
        ours: /^\*1\r\n\*10\r\n\$3\r\nget\r\n:2\r\n\*2\r\n\+readonly\r\n\+fast\r\n:1\r\n:1\r\n:1\r\n\*3\r\n\+@read\r\n\+@string\r\n\+@fast\r\n\*0\r\n\*0\r\n\*0\r\n$/,
      },
      { line: /^> COMMAND DOCS get$/, ours: /^\*2\r\n\$3\r\nget\r\n\*6\r\n\$7\r\nsummary\r\n/ },
    ],
  },
  {
    sentence:
      "`CLIENT` knows `SETNAME GETNAME ID INFO LIST SETINFO` (the last is Redis 7.2's); ids are the node's own, and lines of `INFO` and `LIST` have fewer fields.",
    steps: [
      { line: /^> CLIENT ID$/, ours: /^:\d+\r\n$/ },
      { line: /^> CLIENT SETINFO/, ours: /^\+OK\r\n$/ },
      {
        line: /^> CLIENT (?:INFO|LIST)$/,
        ours: /^(?:\$\d+\r\n|=\d+\r\ntxt:)id=\d+ addr=\S+ name=\S* age=\d+ idle=\d+ flags=N db=default cmd=client user=default /,
      },
      { line: /^> CLIENT (?:LIST TYPE|NO-EVICT|KILL)/, ours: UNSUPPORTED },
    ],
  },
  {
    sentence: '`KV.GET`, `KV.PUT` and `KV.DEL` are commands.',
    steps: [{ line: /^> KV\.GET never$/, ours: /^\*2\r\n\$-1\r\n\*0\r\n$/ }],
  },
  {
    sentence:
      'A bulk string that does not end with CRLF where its length says ends the connection; Redis goes on with what it takes for the next request.',
    steps: [{ line: /^raw .*\$3\\r\\nPING/, ours: /^-ERR Protocol error: expected CRLF after a bulk string\r\n\(closed\)$/ }],
  },
  {
    sentence: 'A client that speaks HTTP is told so before its connection ends; Redis ends it silently.',
    steps: [{ line: /^raw "POST /, ours: /^-ERR this is the Redis protocol; HTTP has a port of its own\r\n\(closed\)$/ }],
  },
  {
    sentence:
      'Every other command of Redis is refused at once with `-ERR UNSUPPORTED` and the reason: what needs consensus (`SETNX`, `INCR`, `APPEND`, `GETSET`, …), transactions, scripts, channels, types other than strings, commands on the whole database, and administration.',
    steps: [
      {
        line: /^> /,
        cases: /^(?:not offered|subscriptions)$/,
        ours: /^-ERR UNSUPPORTED [A-Z]+ is not offered: |^-ERR UNSUPPORTED \S+ is not offered: use SET /,
      },
    ],
  },
];
