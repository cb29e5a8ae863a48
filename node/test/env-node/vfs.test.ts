import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { NodeSyncVfs } from '../../src/env-node/sync-vfs.ts';
import { NodeVfs } from '../../src/env-node/vfs.ts';

let directory: string;
const vfs = new NodeVfs();
const sync = new NodeSyncVfs();
const bytes = (text: string): Uint8Array => Buffer.from(text);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'coterie-vfs-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

describe('NodeVfs', () => {
  test('writes and reads at positions; reading past the end answers what there is', async () => {
    const path = join(directory, 'a');
    const file = await vfs.open(path, 'create');
    await file.write(bytes('hello world'), 0);
    await file.write(bytes('W'), 6);
    await file.write(bytes(''), 3);
    await file.dataSync();
    const into = Buffer.alloc(20);
    expect(await file.read(into, 6)).toBe(5);
    expect(into.toString('latin1', 0, 5)).toBe('World');
    expect(file.readSync(into, 0)).toBe(11);
    expect(await file.read(into, 100)).toBe(0);
    file.writeSync(bytes('!!'), 11);
    file.writeSync(bytes(''), 50);
    expect(file.readSync(into, 6)).toBe(7);
    expect(into.toString('latin1', 0, 7)).toBe('World!!');
    expect(await file.size()).toBe(13);
    await file.truncate(5);
    expect(await vfs.sizeOf(path)).toBe(5);
    await file.close();
    await file.close();
  });

  test('the modes: read must exist, create must not, append-or-create keeps what is there', async () => {
    const path = join(directory, 'a');
    await expect(vfs.open(path, 'read')).rejects.toMatchObject({ name: 'VfsError', code: 'NOT_FOUND', path });
    const first = await vfs.open(path, 'append-or-create');
    await first.write(bytes('kept'), 0);
    await first.close();
    await expect(vfs.open(path, 'create')).rejects.toMatchObject({ code: 'EXISTS' });
    const again = await vfs.open(path, 'append-or-create');
    expect(await again.size()).toBe(4);
    await again.close();
    const reader = await vfs.open(path, 'read');
    await expect(reader.write(bytes('x'), 0)).rejects.toMatchObject({ name: 'VfsError' });
    await reader.close();
  });

  test('a closed file answers CLOSED, and close waits for the calls in flight', async () => {
    const file = await vfs.open(join(directory, 'a'), 'create');
    // A read beyond the end is tried twice, the second time after close was called.
    await file.write(bytes('short'), 0);
    const calls = [file.write(Buffer.alloc(1 << 20, 1), 5), file.dataSync(), file.read(Buffer.alloc(2 << 20), 0), file.size()];
    const closed = file.close();
    await expect(file.write(bytes('x'), 0)).rejects.toMatchObject({ code: 'CLOSED' });
    expect(() => file.readSync(Buffer.alloc(1), 0)).toThrow(/CLOSED/);
    expect(() => {
      file.writeSync(bytes('x'), 0);
    }).toThrow(/CLOSED/);
    await Promise.all(calls);
    await closed;
    expect(await vfs.sizeOf(join(directory, 'a'))).toBe(5 + (1 << 20));
  });

  test('directories: made with their parents, listed in order, entries renamed and removed', async () => {
    const below = join(directory, 'x/y');
    await vfs.mkdir(below);
    await vfs.mkdir(below);
    for (const name of ['b', 'a', 'c']) await (await vfs.open(join(below, name), 'create')).close();
    await vfs.rename(join(below, 'c'), join(below, 'a'));
    await vfs.syncDir(below);
    expect(await vfs.list(below)).toEqual(['a', 'b']);
    await vfs.unlink(join(below, 'a'));
    await expect(vfs.unlink(join(below, 'a'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(vfs.list(join(directory, 'none'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await vfs.sizeOf(join(below, 'a'))).toBeUndefined();
    expect(await vfs.freeBytes(directory)).toBeGreaterThan(0);
  });

  test('a full disk is NO_SPACE', async () => {
    const file = await vfs.open('/dev/full', 'append-or-create');
    await expect(file.write(bytes('x'), 0)).rejects.toMatchObject({ code: 'NO_SPACE', path: '/dev/full' });
    expect(() => {
      file.writeSync(bytes('x'), 0);
    }).toThrow(expect.objectContaining({ code: 'NO_SPACE', path: '/dev/full' }));
    await file.close();
  });
});

describe('the lock', () => {
  test('is refused while held, free after release', async () => {
    const path = join(directory, 'LOCK');
    const lock = await vfs.lock(path);
    await expect(vfs.lock(path)).rejects.toMatchObject({ name: 'VfsError', code: 'LOCKED', path });
    await lock.release();
    await lock.release();
    await (await vfs.lock(path)).release();
  });

  test('another process that holds it keeps it until it is killed', async () => {
    const path = join(directory, 'LOCK');
    const program = `
      import { NodeVfs } from ${JSON.stringify(new URL('../../src/env-node/vfs.ts', import.meta.url).href)};
      await new NodeVfs().lock(${JSON.stringify(path)});
      console.log('held');
      setInterval(() => {}, 1000);
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    await expect(vfs.lock(path)).rejects.toMatchObject({ code: 'LOCKED' });
    child.kill('SIGKILL');
    await once(child, 'exit');
    await (await vfs.lock(path)).release();
  });
});

describe('NodeSyncVfs', () => {
  test('does what NodeVfs does, at once', () => {
    const path = join(directory, 'd/a');
    sync.mkdir(join(directory, 'd'));
    expect(() => sync.open(path, 'read')).toThrow(/NOT_FOUND/);
    const file = sync.open(path, 'create');
    file.write(bytes('hello'), 2);
    file.dataSync();
    const into = Buffer.alloc(4);
    expect(file.read(into, 1)).toBe(4);
    expect(into.toString('latin1')).toBe('\0hel');
    file.truncate(3);
    expect(file.size()).toBe(3);
    file.close();
    file.close();
    expect(() => file.size()).toThrow(/CLOSED/);
    expect(() => sync.open(path, 'create')).toThrow(/EXISTS/);
    sync.rename(path, join(directory, 'd/b'));
    sync.syncDir(join(directory, 'd'));
    expect(sync.list(join(directory, 'd'))).toEqual(['b']);
    expect(sync.sizeOf(path)).toBeUndefined();
    sync.unlink(join(directory, 'd/b'));
    expect(sync.list(join(directory, 'd'))).toEqual([]);
  });
});
