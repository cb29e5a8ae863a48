/** `node node/bench/main.ts NAME`: runs one benchmark, prints its table and writes `node/bench/out/NAME.json`. */

import { big } from './big.ts';
import { cluster } from './cluster.ts';
import { engine } from './engine.ts';
import { http } from './http.ts';
import { report, type Row } from './measure.ts';
import { overload } from './overload.ts';
import { repair } from './repair.ts';
import { resp } from './resp.ts';

const BENCHMARKS: Readonly<Record<string, () => Promise<Row[]>>> = { engine, resp, http, cluster, big, overload, repair };

const name = process.argv[2] ?? '';
const run = BENCHMARKS[name];
if (run === undefined) {
  process.stderr.write(`bench: there is no benchmark ${JSON.stringify(name)}; there are ${Object.keys(BENCHMARKS).join(', ')}\n`);
  process.exitCode = 2;
} else {
  try {
    report(name, await run());
  } catch (error) {
    process.stderr.write(`bench: ${Error.isError(error) ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
  // Servers that a failure left running end here (children.ts).
  process.exit();
}
