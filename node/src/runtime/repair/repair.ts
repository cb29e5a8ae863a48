/** Repair as the rest of the node sees it: its parts, joined. */

import { CoterieError } from '../../base/errors.ts';
import type { PartitionId } from '../../base/ids.ts';
import type { Vfs } from '../../env/vfs.ts';
import type { MetricRegistry } from '../../telemetry/metrics.ts';
import { MESSAGE } from '../../transport/messages/message-type.ts';
import { decodeMissed } from '../../transport/messages/repair.ts';
import type { NodeCore } from '../core.ts';
import type { RepairView } from '../kv.ts';
import type { LocalTrees } from './local-trees.ts';
import { Repairer, type RepairTimings } from './repairer.ts';
import { Scrub } from './scrub.ts';
import { ScrubFile } from './scrub-file.ts';
import { TreeSource } from './tree-source.ts';

const NOTHING = new Uint8Array(0);

export interface RepairOptions extends RepairTimings {
  /** See scrub.ts. */
  readonly scrubMs: number;
  readonly vfs: Vfs;
  /** The store's directory. */
  readonly directory: string;
  readonly registry: MetricRegistry;
}

export class Repair {
  readonly #core: NodeCore;
  readonly #trees: LocalTrees;
  readonly #source: TreeSource;
  readonly #repairer: Repairer;
  readonly #scrub: Scrub;

  constructor(core: NodeCore, trees: LocalTrees, options: RepairOptions) {
    this.#core = core;
    this.#trees = trees;
    this.#source = new TreeSource(core, trees.trees);
    this.#repairer = new Repairer(core, trees, options);
    this.#scrub = new Scrub(core, trees, new ScrubFile(options.vfs, options.directory), options.scrubMs);
    const { registry } = options;
    registry.observedGauge(
      'coterie_repair_owed',
      'Comparisons of a partition with another replica that are owed',
      () => this.#repairer.debts.total,
    );
    registry.observedGauge('coterie_repair_lost_ranges', 'Ranges of this store that damage took', () => this.#repairer.lost().length);
    registry.observedGauge('coterie_tree_leaves_unknown', 'Leaves of hash trees that are not known', () => trees.trees.unknown);
    trees.changed = (): void => {
      this.#scrub.suspect(core.store.engine.quarantined().length > 0);
      this.#repairer.advance();
    };
  }

  begin(): void {
    this.#source.serve();
    this.#core.transport.handle(MESSAGE.missed, (request) => {
      const { partition, slot } = decodeMissed(request.payload);
      if (this.missed(partition, slot, 'now')) request.reply(NOTHING);
      else request.fail('REQUEST_INVALID', 'this partition is not on both members', 'none');
    });
    this.#repairer.begin();
    this.#scrub.begin();
  }

  stop(): void {
    this.#repairer.stop();
    this.#scrub.stop();
  }

  /** See Repairer.owe. Answers false where this store and the slot's are not both replicas of the partition. */
  missed(partition: number, slot: number, when: 'now' | 'after the pause'): boolean {
    const { topology, members } = this.#core;
    const replicas = topology.partitions[partition] ?? [];
    const member = replicas[slot];
    if (member === undefined || member === members.self || !replicas.includes(members.self)) return false;
    this.#repairer.owe(partition as PartitionId, member, when);
    return true;
  }

  /** Something changed that may let what is owed be done. */
  advance(): void {
    this.#repairer.advance();
  }

  /**
   * Compares the partitions from `first` to `last` with all their other replicas, and rereads the store first where `scrub` is set.
   *
   * @throws CoterieError REQUEST_INVALID where there are no such partitions
   */
  request(first: number, last: number, scrub: boolean): void {
    const { Q } = this.#core.topology;
    if (!Number.isInteger(first) || !Number.isInteger(last) || first < 0 || last < first || last >= Q) {
      throw new CoterieError('REQUEST_INVALID', `partitions are numbered from 0 to ${String(Q - 1)}`);
    }
    if (scrub) this.#scrub.request();
    this.#repairer.request(first, last);
  }

  view(): RepairView {
    const { debts, waitsFor, underWay } = this.#repairer;
    const { requested } = debts;
    const { members, metrics } = this.#core;
    const { counts } = metrics;
    return {
      leaves: this.#trees.trees.flags.length,
      leavesUnknown: this.#trees.trees.unknown,
      owed: debts.total,
      underWay: underWay + this.#source.underWay,
      lostRanges: this.#repairer.lost().length,
      sourcesMissing: waitsFor,
      requested: requested === undefined ? undefined : { total: requested.total, left: requested.left.size },
      members: debts.neighbours.map((member) => ({
        name: members.nameOf(member),
        owed: debts.owedTo(member),
        lastMs: this.#repairer.lastMs(member),
      })),
      scrub: this.#scrub.view(),
      counts: {
        partitionsCompared: counts.partitionsCompared.value(),
        partitionsRepaired: counts.partitionsRepaired.value(),
        objectsFetched: counts.objectsFetched.value(),
        objectsSent: counts.objectsSent.value(),
        objectsRefilled: counts.objectsRefilled.value(),
        rangesRefilled: counts.rangesRefilled.value(),
        leavesWrong: counts.leavesWrong.value(),
        scrubs: counts.scrubs.value(),
      },
    };
  }
}
