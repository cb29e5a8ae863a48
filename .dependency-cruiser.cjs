/** The arrows of docs/ARCHITECTURE.md: each room may import the rooms named, and nothing else of this repository. */
const ARROWS = {
  base: [],
  env: ['base'],
  storage: ['base', 'env'],
  cluster: ['base'],
  transport: ['base', 'env'],
  runtime: ['base', 'env', 'storage', 'cluster', 'transport', 'telemetry'],
  telemetry: ['base'],
  api: ['runtime', 'telemetry', 'base'],
  'env-node': ['env', 'base'],
};

const rooms = Object.entries(ARROWS).map(([room, allowed]) => ({
  name: `room-${room}`,
  comment: `${room} imports ${allowed.length === 0 ? 'no other room' : allowed.join(', ')} only`,
  severity: 'error',
  from: { path: `^node/src/${room}/` },
  to: { path: '^node/', pathNot: [room, ...allowed].map((name) => `^node/src/${name}/`).concat('^node/node_modules/') },
}));

module.exports = {
  forbidden: [
    ...rooms,
    {
      name: 'room-cli',
      comment: 'cli imports base, cluster/ring, and types of api; it speaks to nodes over the wire',
      severity: 'error',
      from: { path: '^node/src/cli/' },
      to: { path: '^node/', pathNot: ['^node/src/(cli|base|cluster/ring)/', '^node/node_modules/'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'room-cli-types',
      comment: 'cli may know the types of api',
      severity: 'error',
      from: { path: '^node/src/cli/' },
      to: { path: '^node/', pathNot: ['^node/src/(cli|base|cluster/ring|api)/', '^node/node_modules/'] },
    },
    {
      name: 'nothing-imports-main',
      comment: 'main.ts is the composition root',
      severity: 'error',
      from: { path: '^node/(src|sim)/' },
      to: { path: '^node/src/main\\.ts$' },
    },
    {
      name: 'sim-stays-off-the-machine',
      comment: 'the simulator imports everything but env-node, api and cli',
      severity: 'error',
      from: { path: '^node/sim/' },
      to: { path: '^node/src/(env-node|api|cli)/' },
    },
    {
      name: 'src-knows-no-tests',
      comment: 'shipped code imports nothing of sim, bench or test',
      severity: 'error',
      from: { path: '^node/src/' },
      to: { path: '^node/(sim|bench|test)/' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    {
      name: 'no-orphans',
      comment: 'a file nobody imports is dead, unless it is an entry',
      severity: 'error',
      from: {
        orphan: true,
        path: '^node/(src|sim)/',
        pathNot: ['main\\.ts$', '^node/sim/(main|storage/.*)\\.ts$', '\\.d\\.ts$', '/gen/', 'tsconfig'],
      },
      to: {},
    },
    {
      name: 'no-dev-packages-in-src',
      severity: 'error',
      from: { path: '^node/src/' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    { name: 'not-to-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|bench/out)/' },
    tsPreCompilationDeps: 'specify',
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.d.ts'],
      conditionNames: ['import', 'node', 'default', 'types'],
      exportsFields: ['exports'],
    },
  },
};
