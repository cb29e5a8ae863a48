/** Koa saying hello, the least that a Koa application does. `koa-hello.ts PORT`. */

import Koa from 'koa';

const app = new Koa();
app.use((context) => {
  context.body = 'Hello World';
});
app.listen({ host: '127.0.0.1', port: Number(process.argv[2] ?? '0') });
process.once('SIGTERM', () => process.exit(0));
