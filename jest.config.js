/** Tests run the TypeScript sources as they are; types are checked by `make check`. */
export default {
  // A hang is what this catches; how fast the machine is decides no test.
  testTimeout: 120_000,
  projects: [
    {
      displayName: 'node',
      rootDir: 'node',
      testMatch: ['<rootDir>/test/**/*.test.ts'],
      extensionsToTreatAsEsm: ['.ts'],
      testEnvironment: 'node',
      transform: {
        '\\.ts$': [
          '@swc/jest',
          { jsc: { parser: { syntax: 'typescript' }, target: 'es2024' }, module: { type: 'es6' }, sourceMaps: 'inline' },
        ],
      },
      modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/bench/out/'],
    },
  ],
};
