import { expect, test } from '@jest/globals';

import { MetricRegistry } from '../../src/telemetry/metrics.ts';

test('metrics are exposed as Prometheus text, names and labels sorted', () => {
  const registry = new MetricRegistry();
  registry.counter('reads', 'Reads', { outcome: 'ok' }).add(2);
  registry.counter('reads', 'Reads', { outcome: 'ok' }).add();
  registry.counter('reads', 'Reads', { outcome: 'say "no"\n' }).add();
  registry.observedGauge('open', 'Open', () => 7);
  const latency = registry.histogram('latency', 'Latency', [1, 2]);
  for (const value of [0.5, 1, 1.5, 9]) latency.observe(value);
  expect(registry.expose().split('\n')).toEqual([
    '# HELP latency Latency',
    '# TYPE latency histogram',
    'latency_bucket{le="1"} 2',
    'latency_bucket{le="2"} 3',
    'latency_bucket{le="+Inf"} 4',
    'latency_sum 12',
    'latency_count 4',
    '# HELP open Open',
    '# TYPE open gauge',
    'open 7',
    '# HELP reads Reads',
    '# TYPE reads counter',
    'reads{outcome="ok"} 3',
    'reads{outcome="say \\"no\\"\\n"} 1',
    '',
  ]);
});

test('a quantile is the bound of its bucket', () => {
  const latency = new MetricRegistry().histogram('latency', 'Latency', [1, 2, 4]);
  expect(latency.quantile(0.95)).toBe(0);
  for (let i = 0; i < 95; i += 1) latency.observe(1);
  for (let i = 0; i < 5; i += 1) latency.observe(3);
  expect(latency.quantile(0.5)).toBe(1);
  expect(latency.quantile(0.95)).toBe(1);
  expect(latency.quantile(0.99)).toBe(4);
});

test('a name has one kind', () => {
  const registry = new MetricRegistry();
  registry.counter('x', 'X');
  expect(() => registry.gauge('x', 'X')).toThrow('is a counter');
});
