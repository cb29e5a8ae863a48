/** Debian's redis-server, the oracle: started on a free loopback port with nothing on disk, ended by its id. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

import { RawClient } from './raw-client.ts';

export const INSTALL_REDIS = 'apt-get install redis-server';

export function hasProgram(name: string): boolean {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined;
}

async function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
  });
}

export interface Oracle {
  readonly port: number;
  stop(): Promise<void>;
}

export async function startRedis(password: string | undefined): Promise<Oracle> {
  const port = await freePort();
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--loglevel', 'warning'];
  if (password !== undefined) options.push('--requirepass', password);
  const child: ChildProcess = spawn('redis-server', options, { stdio: 'ignore', cwd: '/' });
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const client = await RawClient.connect(port).catch(() => undefined);
    if (client !== undefined) {
      client.close();
      return {
        port,
        stop: async () => {
          const ended = new Promise((resolve) => child.once('close', resolve));
          child.kill('SIGTERM');
          await ended;
        },
      };
    }
    await delay(50);
  }
  child.kill('SIGKILL');
  throw new Error('redis-server did not answer within 5 seconds');
}
