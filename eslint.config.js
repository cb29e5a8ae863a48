import tseslint from 'typescript-eslint';

/** What only the outermost rooms may touch; everybody else gets it injected through `env`. */
const AMBIENT_GLOBALS = [
  'Date',
  'process',
  'crypto',
  'performance',
  'fetch',
  'navigator',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'clearImmediate',
].map((name) => ({ name, message: 'Time, randomness, the process and timers are injected: see node/src/env.' }));

const AMBIENT_PROPERTIES = [{ object: 'Math', property: 'random', message: 'Randomness is injected: see env/random.ts.' }];

/** Transcendental functions differ between machines in the last bit; a decision built on one does not replay. */
const INEXACT_PROPERTIES = ['log', 'log2', 'log10', 'log1p', 'exp', 'expm1', 'pow', 'sin', 'cos', 'tan', 'cbrt'].map((property) => ({
  object: 'Math',
  property,
  message: 'Not bit-exact across machines: decisions may not depend on it.',
}));

const DYNAMIC_IMPORT = { selector: 'ImportExpression', message: 'A dynamic import escapes the simulator; import statically.' };
const ASYNC = [
  { selector: ':function[async=true]', message: 'cluster is pure and synchronous: step(state, event, out).' },
  { selector: 'AwaitExpression', message: 'cluster is pure and synchronous.' },
  { selector: "Identifier[name='Promise']", message: 'cluster is pure and synchronous.' },
];

/** Any built-in module but those named. `api/http` needs the types of requests, which come with Koa. */
const builtinsExcept = (...allowed) => ({
  patterns: [
    {
      regex: `^(node:(?!(${allowed.join('|') || '$'})$).*|fs|net|crypto|timers|process|http|https|tls|dgram|child_process|worker_threads|os|path|url|util|stream|events|buffer|zlib|perf_hooks|v8|vm)(/.*)?$`,
      message: `This room may import ${allowed.length === 0 ? 'no built-in module' : `only node:${allowed.join(' and node:')}`}.`,
    },
  ],
});

const INNER = ['base', 'env', 'storage', 'cluster', 'transport', 'runtime', 'telemetry', 'api'];

export default tseslint.config(
  {
    ignores: [
      '**/node_modules/',
      '**/dist/',
      'node/src/transport/gen/',
      'node/bench/out/',
      'node/test/testdata/',
      '**/*.cjs',
      '*.js',
      'node/bin/',
    ],
  },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      'no-restricted-syntax': ['error', DYNAMIC_IMPORT],
      'max-lines': ['error', { max: 600, skipBlankLines: true, skipComments: true }],
      eqeqeq: 'error',
      curly: ['error', 'multi-line'],
    },
  },
  {
    files: INNER.map((room) => `node/src/${room}/**/*.ts`),
    rules: {
      'no-restricted-globals': ['error', ...AMBIENT_GLOBALS],
      'no-restricted-properties': ['error', ...AMBIENT_PROPERTIES],
    },
  },
  {
    files: ['base', 'env', 'cluster'].map((room) => `node/src/${room}/**/*.ts`),
    rules: {
      'no-restricted-imports': ['error', builtinsExcept()],
      'no-restricted-properties': ['error', ...AMBIENT_PROPERTIES, ...INEXACT_PROPERTIES],
    },
  },
  {
    files: ['node/src/cluster/**/*.ts'],
    rules: { 'no-restricted-syntax': ['error', DYNAMIC_IMPORT, ...ASYNC] },
  },
  {
    files: ['storage', 'transport', 'runtime', 'telemetry'].map((room) => `node/src/${room}/**/*.ts`),
    rules: { 'no-restricted-imports': ['error', builtinsExcept('buffer', 'zlib')] },
  },
  {
    files: ['node/src/api/**/*.ts'],
    rules: { 'no-restricted-imports': ['error', builtinsExcept('buffer', 'zlib', 'http')] },
  },
  {
    files: ['node/src/env-node/**/*.ts'],
    rules: { 'no-restricted-syntax': 'off' },
  },
  {
    files: ['node/test/**/*.ts', 'node/bench/**/*.ts', 'node/sim/**/*.ts'],
    rules: {
      // jest's matchers and third-party peers are loosely typed; what is asserted stays strict.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-empty-function': 'off',
    },
  },
);
