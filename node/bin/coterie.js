#!/usr/bin/env node
// Starts the command line: the compiled one where there is one (images), else the sources, which Node runs as they are.
import { existsSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Reading the sources takes longer than most commands: what was compiled is kept for the next start.
enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/coterie', import.meta.url)));

const compiled = new URL('../dist/main.js', import.meta.url);
const sources = new URL('../src/main.ts', import.meta.url);
await import((existsSync(sources) ? sources : compiled).href);
