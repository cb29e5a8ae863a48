/** The context that a write answers never covers a value that its client was not shown. */

import { describe, expect, test } from '@jest/globals';

import { bytes, contextIn, scenario, texts } from './virtual-cluster.ts';

const ID = bytes('0123456789abcdef');

describe('the context of a write', () => {
  test('covers the write and what it replaced', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const first = await cluster.node(0).put('default', 'k', bytes('1'), {}, {});
      const second = await cluster.node(1).put('default', 'k', bytes('2'), {}, { context: contextIn(first) });
      expect(texts(await cluster.node(2).get('default', 'k', {}))).toEqual(['2']);
      const gone = await cluster.node(2).delete('default', 'k', { context: contextIn(second) });
      expect(gone.siblings).toBe(0);
      expect(gone.context).toBeDefined();
    }));

  test('is withheld while a sibling is left that the client has not seen', () =>
    scenario({ nodes: 4, n: 3 }, async (cluster) => {
      await cluster.start();
      const context = contextIn(await cluster.node(0).put('default', 'k', bytes('base'), {}, {}));
      await cluster.node(1).put('default', 'k', bytes('left'), {}, { context });
      // Through every node, so that it is forwarded, too.
      for (const node of cluster.up) {
        const right = await node.put('default', 'k', bytes('right'), {}, { context });
        expect(right.siblings).toBeGreaterThan(1);
        expect(right.context).toBeUndefined();
      }
      const deleted = await cluster.node(2).delete('default', 'k', { context });
      expect(deleted.siblings).toBeGreaterThan(0);
      expect(deleted.context).toBeUndefined();
    }));

  test('is withheld from a retry whose write others have overwritten', () =>
    scenario({ nodes: 3, n: 3 }, async (cluster) => {
      await cluster.start();
      const first = await cluster.node(0).put('default', 'k', bytes('mine'), {}, { operationId: ID });
      expect(first.context).toBeDefined();
      const again = await cluster.node(1).put('default', 'k', bytes('mine'), {}, { operationId: ID });
      expect(again.context).toBeDefined();
      await cluster.node(2).put('default', 'k', bytes('theirs'), {}, {});
      const late = await cluster.node(1).put('default', 'k', bytes('mine'), {}, { operationId: ID });
      expect(late.context).toBeUndefined();
      expect(texts(await cluster.node(0).get('default', 'k', {}))).toEqual(['theirs']);
    }));
});
