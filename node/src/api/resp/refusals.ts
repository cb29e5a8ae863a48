/** Redis' commands that Coterie does not offer, each with the reason a client is given. A name in neither table is unknown, as in Redis. */

const CONSENSUS = 'to read and change a value in one step takes consensus among the replicas; read, and KV.PUT with the context instead';
const TYPES = 'values are opaque bytes: there are no lists, hashes, sets, streams or other types';
const PARTS = 'a value is read and written as a whole';
const TRANSACTIONS = 'each key is replicated on its own: there are no transactions';
const SCRIPTS = 'nodes do not run scripts or functions';
const MESSAGES = 'nothing is told to clients unasked: there are no channels or key space notifications';
const BLOCKING = 'no command waits for an event';
const WHOLE = 'it would touch the whole bucket in one step; use SCAN';
const ADMIN = 'a node is operated through its configuration, the HTTP admin API and the `coterie` command line';
const OTHER_CLUSTER = "every node answers for every key: Redis Cluster's and Sentinel's commands are not spoken";
const REPLICATION = 'replicas are Coterie nodes; how many must answer is said by W';

const REASONS: readonly (readonly [string, string])[] = [
  [CONSENSUS, 'SETNX MSETNX GETSET GETDEL GETEX INCR INCRBY INCRBYFLOAT DECR DECRBY APPEND SETRANGE RENAME RENAMENX COPY MOVE LCS'],
  ['use SET key value EX seconds', 'SETEX'],
  ['use SET key value PX milliseconds', 'PSETEX'],
  [TRANSACTIONS, 'MULTI EXEC DISCARD WATCH UNWATCH'],
  [SCRIPTS, 'EVAL EVALSHA EVAL_RO EVALSHA_RO SCRIPT FUNCTION FCALL FCALL_RO'],
  [MESSAGES, 'SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUNSUBSCRIBE PUBLISH SPUBLISH PUBSUB MONITOR'],
  [BLOCKING, 'BLPOP BRPOP BLMOVE BLMPOP BRPOPLPUSH BZPOPMIN BZPOPMAX BZMPOP'],
  [PARTS, 'GETRANGE SUBSTR GETBIT SETBIT BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS'],
  [TYPES, 'LPUSH RPUSH LPUSHX RPUSHX LPOP RPOP LRANGE LINDEX LINSERT LLEN LMOVE LMPOP LPOS LREM LSET LTRIM RPOPLPUSH'],
  [TYPES, 'HSET HSETNX HGET HDEL HEXISTS HGETALL HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HRANDFIELD HSCAN HSTRLEN HVALS'],
  [
    TYPES,
    'SADD SREM SMEMBERS SISMEMBER SMISMEMBER SCARD SDIFF SDIFFSTORE SINTER SINTERCARD SINTERSTORE SMOVE SPOP SRANDMEMBER SSCAN SUNION SUNIONSTORE',
  ],
  [
    TYPES,
    'ZADD ZREM ZCARD ZCOUNT ZDIFF ZDIFFSTORE ZINCRBY ZINTER ZINTERCARD ZINTERSTORE ZLEXCOUNT ZMPOP ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE',
  ],
  [
    TYPES,
    'ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZRANK ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION ZUNIONSTORE',
  ],
  [TYPES, 'XACK XADD XAUTOCLAIM XCLAIM XDEL XGROUP XINFO XLEN XPENDING XRANGE XREAD XREADGROUP XREVRANGE XSETID XTRIM'],
  [TYPES, 'GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUS_RO GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO GEOSEARCH GEOSEARCHSTORE'],
  [TYPES, 'PFADD PFCOUNT PFDEBUG PFMERGE PFSELFTEST SORT SORT_RO OBJECT DUMP RESTORE RESTORE-ASKING MIGRATE'],
  [WHOLE, 'KEYS RANDOMKEY FLUSHDB FLUSHALL SWAPDB'],
  ['nothing is evicted by age of use', 'TOUCH'],
  [REPLICATION, 'WAIT WAITAOF REPLICAOF SLAVEOF SYNC PSYNC REPLCONF ROLE FAILOVER'],
  [OTHER_CLUSTER, 'CLUSTER READONLY READWRITE ASKING SENTINEL'],
  [ADMIN, 'ACL BGREWRITEAOF BGSAVE SAVE LASTSAVE SHUTDOWN DEBUG SLOWLOG LATENCY MEMORY MODULE LOLWUT TIME RESET'],
];

/** The reason by the command's name in lower case. */
export const REFUSALS: ReadonlyMap<string, string> = new Map(
  REASONS.flatMap(([reason, names]) => names.split(' ').map((name) => [name.toLowerCase(), `${name} is not offered: ${reason}`] as const)),
);
