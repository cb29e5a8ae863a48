import { describe, expect, test } from '@jest/globals';

import { clusterId, memberName, storeId } from '../../src/base/ids.ts';
import { newIdentity, type StoreIdentity } from '../../src/cluster/membership/identity.ts';
import { IdentityFile, readIdentity } from '../../src/runtime/identity-file.ts';
import { SimMount } from '../../sim/disk/mount.ts';
import { SeededRandom } from '../../sim/disk/seeded-random.ts';
import { SimVolume } from '../../sim/disk/volume.ts';

const BLANK = newIdentity(clusterId('c'.repeat(32)), storeId('a'.repeat(32)), memberName('node-1'));

function mountOf(volume: SimVolume): SimMount {
  return new SimMount(volume, {
    schedule: (_, run) => {
      setImmediate(run);
    },
  });
}

function leased(identity: StoreIdentity): StoreIdentity {
  return { ...identity, lease: identity.lease + 1 };
}

describe('the identity file', () => {
  test('what was changed is there after a loss of power at any call, and never less than what was promised', async () => {
    const volume = new SimVolume({ random: new SeededRandom(1) });
    await mountOf(volume).vfs.mkdir('/data');
    await mountOf(volume).vfs.syncDir('/');
    const file = new IdentityFile(mountOf(volume).vfs, '/data', BLANK);
    const random = new SeededRandom(2);
    const cuts: { readonly promised: number; readonly image: SimVolume }[] = [];
    let promised = 0;
    volume.judge = () => {
      const image = new SimVolume({ random });
      image.restore(volume.imageAfterPowerLoss(random, volume.current));
      cuts.push({ promised, image });
      return 'ok';
    };
    for (let lease = 1; lease <= 8; lease += 1) {
      await file.change(leased);
      promised = lease;
    }
    expect(cuts.length).toBeGreaterThan(40);
    for (const { promised: least, image } of cuts) {
      const found = await readIdentity(mountOf(image).vfs, '/data');
      expect(found?.lease ?? 0).toBeGreaterThanOrEqual(least);
      expect(found?.lease ?? 0).toBeLessThanOrEqual(least + 1);
    }
  });

  test('changes made while one is written go together into the next', async () => {
    const volume = new SimVolume({ random: new SeededRandom(1) });
    await mountOf(volume).vfs.mkdir('/data');
    const file = new IdentityFile(mountOf(volume).vfs, '/data', BLANK);
    let renames = 0;
    volume.judge = ({ kind }) => {
      if (kind === 'rename') renames += 1;
      return 'ok';
    };
    await Promise.all(Array.from({ length: 10 }, () => file.change(leased)));
    expect(renames).toBe(2);
    expect(file.durable.lease).toBe(10);
    expect((await readIdentity(mountOf(volume).vfs, '/data'))?.lease).toBe(10);
  });

  test('a failed write promises nothing, and the next one makes up for it', async () => {
    const volume = new SimVolume({ random: new SeededRandom(1) });
    await mountOf(volume).vfs.mkdir('/data');
    const file = new IdentityFile(mountOf(volume).vfs, '/data', BLANK);
    for (const kind of ['open', 'write', 'dataSync', 'rename', 'syncDir']) {
      volume.judge = (operation) => (operation.kind === kind && operation.changes ? 'io' : 'ok');
      const before = file.durable.lease;
      const failed = await file.change(leased).then(
        () => undefined,
        (error: unknown) => {
          // Clients whose writes wait for a lease read it.
          expect((error as Error).message).not.toContain('/data');
          return (error as { code?: string }).code;
        },
      );
      volume.judge = () => 'ok';
      if (failed === undefined) continue;
      expect(failed).toBe('DISK_FAILED');
      expect([file.failing, file.durable.lease]).toEqual([true, before]);
      await file.change((identity) => identity);
      expect([file.failing, file.durable.lease]).toEqual([false, before + 1]);
    }
    expect((await readIdentity(mountOf(volume).vfs, '/data'))?.lease).toBe(file.current.lease);
  });
});
