/** Ports of this machine's loopback. */

import { createServer } from 'node:net';

export const HOST = '127.0.0.1';

/** Ports that nobody listens on now, held all at once so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => listenOn(0)));
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map(close));
  return ports;
}

/** Rejects where somebody listens on the port. */
export async function requirePort(port: number): Promise<void> {
  await close(await listenOn(port));
}

type Server = ReturnType<typeof createServer>;

async function listenOn(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host: HOST, port }, () => resolve(server));
  });
}

async function close(server: Server): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
}
