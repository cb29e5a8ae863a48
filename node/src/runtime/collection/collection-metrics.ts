/** What collecting waits for, as gauges. */

import type { MetricRegistry } from '../../telemetry/metrics.ts';
import type { Collector } from './collector.ts';

export function watchCollection(registry: MetricRegistry, collector: Collector): void {
  const blocked = (): number => collector.view().blocked.reduce((sum, { partitions }) => sum + partitions, 0);
  registry.observedGauge(
    'coterie_collection_blocked_partitions',
    'Partitions led here whose deleted and expired keys cannot be collected now',
    blocked,
  );
  registry.observedGauge(
    'coterie_collection_young_dead',
    'Deletes and values that expire, taken since the generation of their partition rose, of partitions led here',
    () => collector.view().youngDead,
  );
  registry.observedGauge(
    'coterie_collection_generation',
    'The lowest generation of the partitions led here',
    () => collector.view().leastGeneration,
  );
}
