/**
 * What a simulated volume holds: files and directories, each as the running system sees it and as the disk has it for certain.
 *
 * Model. A write dirties sectors of 512 bytes; `sync` copies the dirty ones to what is kept. A loss of power leaves, for each file on its
 * own, what was kept plus none, all, a prefix, or an arbitrary subset of the dirty sectors, any of them torn at a byte, and a length
 * anywhere between the kept and the newest one; a lost sector past the kept length reads as zeros or as garbage. Directory entries made,
 * renamed or removed since the directory's last `syncDir` are kept or lost each on its own; a rename within one directory is atomic, one
 * across directories is an addition and a removal that may part. That is weaker than ext4 or XFS promise, and as weak as POSIX allows.
 *
 * A `Medium` is plain state: no faults, counting or time (see volume.ts). `clone` makes an independent copy, which is how a crash test
 * looks at what every cut would have left without running the workload again.
 */

import { VfsError } from '../../src/env/vfs.ts';
import type { SeededRandom } from './seeded-random.ts';

export const SECTOR_BYTES = 512;

export interface FileNode {
  readonly kind: 'file';
  bytes: Uint8Array;
  size: number;
  kept: Uint8Array;
  keptSize: number;
  /** The smallest length since the last sync: a truncation that the disk may have seen alone. */
  smallest: number;
  dirty: Set<number>;
  /** Entries that name it, as the running system sees them. */
  links: number;
  handles: number;
}

type DirectoryChange =
  | { readonly kind: 'add' | 'remove'; readonly name: string; readonly node: number }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string; readonly node: number };

export interface DirectoryNode {
  readonly kind: 'directory';
  entries: Map<string, number>;
  kept: Map<string, number>;
  pending: DirectoryChange[];
}

export type MediumNode = FileNode | DirectoryNode;

/** A change of the medium, as data: those in flight at a crash can then be applied to the copy that the crash leaves. */
export type MediumChange =
  | { readonly kind: 'create' | 'mkdir' | 'unlink' | 'syncDir'; readonly path: string }
  | { readonly kind: 'rename'; readonly path: string; readonly to: string }
  | { readonly kind: 'write'; readonly path: string; readonly node: number; readonly position: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly path: string; readonly node: number; readonly length: number }
  | { readonly kind: 'dataSync'; readonly path: string; readonly node: number };

const ROOT = 1;

/** The names along a path; empty ones and `.` do not count. */
function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function grown(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length >= length) return bytes;
  const larger = new Uint8Array(Math.max(length, bytes.length * 2, 1024));
  larger.set(bytes);
  return larger;
}

function applyChange(entries: Map<string, number>, change: DirectoryChange): void {
  switch (change.kind) {
    case 'add':
      entries.set(change.name, change.node);
      return;
    case 'remove':
      if (entries.get(change.name) === change.node) entries.delete(change.name);
      return;
    case 'rename':
      if (entries.get(change.from) === change.node) entries.delete(change.from);
      entries.set(change.to, change.node);
      return;
  }
}

export class Medium {
  readonly nodes: Map<number, MediumNode> = new Map();
  #nextNode = ROOT + 1;

  constructor() {
    this.nodes.set(ROOT, { kind: 'directory', entries: new Map(), kept: new Map(), pending: [] });
  }

  clone(): Medium {
    const copy = new Medium();
    copy.#nextNode = this.#nextNode;
    for (const [id, node] of this.nodes) {
      if (node.kind === 'file') {
        copy.nodes.set(id, {
          ...node,
          bytes: node.bytes.slice(0, node.size),
          kept: node.kept.slice(0, node.keptSize),
          dirty: new Set(node.dirty),
        });
      } else {
        copy.nodes.set(id, { kind: 'directory', entries: new Map(node.entries), kept: new Map(node.kept), pending: [...node.pending] });
      }
    }
    return copy;
  }

  /** The number of the node at `path`; `undefined` where there is none. */
  find(path: string): number | undefined {
    let at = ROOT;
    for (const name of namesOf(path)) {
      const node = this.nodes.get(at);
      const next = node?.kind === 'directory' ? node.entries.get(name) : undefined;
      if (next === undefined) return undefined;
      at = next;
    }
    return at;
  }

  file(id: number): FileNode {
    const node = this.nodes.get(id);
    if (node?.kind !== 'file') throw new Error(`broken invariant: node ${String(id)} is no file`);
    return node;
  }

  directory(path: string, operation: string): DirectoryNode {
    const id = this.find(path);
    const node = id === undefined ? undefined : this.nodes.get(id);
    if (node === undefined) throw new VfsError('NOT_FOUND', path, operation);
    if (node.kind !== 'directory') throw new VfsError('IO', path, operation);
    return node;
  }

  /** Every file's path and length, sorted by path. */
  files(): { path: string; size: number; node: number }[] {
    const found: { path: string; size: number; node: number }[] = [];
    const walk = (id: number, path: string): void => {
      const node = this.nodes.get(id);
      if (node === undefined) return;
      if (node.kind === 'file') found.push({ path, size: node.size, node: id });
      else for (const [name, child] of node.entries) walk(child, `${path}/${name}`);
    };
    walk(ROOT, '');
    return found.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** Bytes taken: files with a name or an open handle. */
  usedBytes(): number {
    let used = 0;
    for (const node of this.nodes.values()) if (node.kind === 'file' && (node.links > 0 || node.handles > 0)) used += node.size;
    return used;
  }

  /** @throws VfsError NOT_FOUND, EXISTS, IO */
  apply(change: MediumChange): void {
    switch (change.kind) {
      case 'create':
        this.#create(change.path);
        return;
      case 'mkdir':
        this.#mkdir(change.path);
        return;
      case 'unlink':
        this.#unlink(change.path);
        return;
      case 'rename':
        this.#rename(change.path, change.to);
        return;
      case 'syncDir': {
        const directory = this.directory(change.path, 'syncDir');
        directory.kept = new Map(directory.entries);
        directory.pending = [];
        this.#sweep();
        return;
      }
      case 'write':
        this.#write(this.file(change.node), change.position, change.bytes);
        return;
      case 'truncate':
        this.#truncate(this.file(change.node), change.length);
        return;
      case 'dataSync':
        this.#sync(this.file(change.node));
        return;
    }
  }

  /**
   * A sync that failed: some dirty sectors reached the disk, the others never will unless they are written again, though no later sync
   * fails ("fsyncgate"; Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020). What is read afterwards is the newest
   * data (ext4) or what the disk has (btrfs).
   */
  failSync(id: number, random: SeededRandom): void {
    const file = this.file(id);
    const reverts = random.oneIn(2);
    const reached = this.#afterLoss(file, random);
    file.kept = reached.slice();
    file.keptSize = reached.length;
    if (reverts) {
      file.bytes = reached;
      file.size = reached.length;
    }
    file.smallest = Math.min(file.size, file.keptSize);
    file.dirty.clear();
  }

  /** Flips bits where they lie: in what the running system sees and in what is kept. */
  flip(path: string, offset: number, mask: number): void {
    const id = this.find(path);
    if (id === undefined) throw new VfsError('NOT_FOUND', path, 'flip');
    const file = this.file(id);
    if (offset < file.size) file.bytes[offset] = (file.bytes[offset] ?? 0) ^ mask;
    if (offset < file.keptSize) file.kept[offset] = (file.kept[offset] ?? 0) ^ mask;
  }

  /** The power fails: what is not kept is lost, in part or whole, as the head of this file says. All handles are gone. */
  losePower(random: SeededRandom): void {
    for (const node of this.nodes.values()) {
      if (node.kind === 'directory') {
        node.entries = this.#entriesAfterLoss(node, random);
        node.kept = new Map(node.entries);
        node.pending = [];
      } else {
        const bytes = this.#afterLoss(node, random);
        node.bytes = bytes;
        node.size = bytes.length;
        node.kept = bytes.slice();
        node.keptSize = bytes.length;
        node.smallest = bytes.length;
        node.dirty.clear();
      }
    }
    this.settle();
  }

  /** After a crash: no handles, links counted anew, nodes out of reach dropped. */
  settle(): void {
    for (const node of this.nodes.values()) {
      if (node.kind === 'file') {
        node.handles = 0;
        node.links = 0;
      }
    }
    for (const node of this.nodes.values()) {
      if (node.kind !== 'directory') continue;
      for (const [name, id] of node.entries) {
        const child = this.nodes.get(id);
        if (child === undefined) node.entries.delete(name);
        else if (child.kind === 'file') child.links += 1;
      }
    }
    this.#sweep();
  }

  #afterLoss(file: FileNode, random: SeededRandom): Uint8Array {
    const kept = file.kept.slice(0, file.keptSize);
    if (file.dirty.size === 0 && file.size === file.keptSize) return kept;
    const mode = random.below(5);
    if (mode === 0) return kept;
    if (mode === 1) return file.bytes.slice(0, file.size);
    // A truncation may have reached the disk before the writes that followed it.
    const base = file.smallest < file.keptSize && random.oneIn(2) ? kept.subarray(0, file.smallest) : kept;
    let length = random.pick([base.length, file.size, base.length + random.below(file.size - base.length + 1)]);
    if (file.size < base.length) length = random.pick([base.length, file.size]);
    const result = new Uint8Array(length);
    result.set(base.subarray(0, length));
    const sectors = [...file.dirty].sort((a, b) => a - b);
    // Mode 2: written back in order up to some byte. Others: each sector on its own.
    const inOrder = mode === 2 ? random.below(sectors.length + 1) : -1;
    for (const [nth, sector] of sectors.entries()) {
      const from = sector * SECTOR_BYTES;
      const to = Math.min(from + SECTOR_BYTES, length, file.size);
      if (from >= to) continue;
      const fate = inOrder < 0 ? random.below(4) : nth < inOrder ? 1 : nth === inOrder ? 2 : 0;
      if (fate === 1 || fate === 3) result.set(file.bytes.subarray(from, to), from);
      else if (fate === 2) result.set(file.bytes.subarray(from, from + random.below(to - from + 1)), from);
      else if (from >= base.length && random.oneIn(8)) result.set(random.bytes(to - from), from);
    }
    return result;
  }

  #entriesAfterLoss(directory: DirectoryNode, random: SeededRandom): Map<string, number> {
    const entries = new Map(directory.kept);
    const mode = random.below(4);
    const inOrder = random.below(directory.pending.length + 1);
    for (const [nth, change] of directory.pending.entries()) {
      const happened = mode === 0 ? false : mode === 1 ? true : mode === 2 ? nth < inOrder : random.oneIn(2);
      if (happened) applyChange(entries, change);
    }
    return entries;
  }

  #parent(path: string, operation: string): { directory: DirectoryNode; name: string } {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw new VfsError('IO', path, operation);
    return { directory: this.directory(`/${names.join('/')}`, operation), name };
  }

  #change(directory: DirectoryNode, change: DirectoryChange): void {
    applyChange(directory.entries, change);
    directory.pending.push(change);
  }

  #create(path: string): void {
    const { directory, name } = this.#parent(path, 'create');
    if (directory.entries.has(name)) throw new VfsError('EXISTS', path, 'create');
    const id = this.#nextNode;
    this.#nextNode += 1;
    this.nodes.set(id, {
      kind: 'file',
      bytes: new Uint8Array(0),
      size: 0,
      kept: new Uint8Array(0),
      keptSize: 0,
      smallest: 0,
      dirty: new Set(),
      links: 1,
      handles: 0,
    });
    this.#change(directory, { kind: 'add', name, node: id });
  }

  #mkdir(path: string): void {
    let at = '';
    for (const name of namesOf(path)) {
      const parent = this.directory(at === '' ? '/' : at, 'mkdir');
      at = `${at}/${name}`;
      if (parent.entries.has(name)) continue;
      const id = this.#nextNode;
      this.#nextNode += 1;
      this.nodes.set(id, { kind: 'directory', entries: new Map(), kept: new Map(), pending: [] });
      this.#change(parent, { kind: 'add', name, node: id });
    }
    this.directory(path, 'mkdir');
  }

  #unlink(path: string): void {
    const { directory, name } = this.#parent(path, 'unlink');
    const id = directory.entries.get(name);
    if (id === undefined) throw new VfsError('NOT_FOUND', path, 'unlink');
    const node = this.nodes.get(id);
    if (node?.kind !== 'file') throw new VfsError('IO', path, 'unlink');
    node.links -= 1;
    this.#change(directory, { kind: 'remove', name, node: id });
  }

  #rename(from: string, to: string): void {
    const source = this.#parent(from, 'rename');
    const target = this.#parent(to, 'rename');
    const id = source.directory.entries.get(source.name);
    if (id === undefined) throw new VfsError('NOT_FOUND', from, 'rename');
    const replaced = target.directory.entries.get(target.name);
    if (replaced === id) return;
    const old = replaced === undefined ? undefined : this.nodes.get(replaced);
    if (old?.kind === 'directory') throw new VfsError('IO', to, 'rename');
    if (old !== undefined) old.links -= 1;
    if (source.directory === target.directory) {
      this.#change(source.directory, { kind: 'rename', from: source.name, to: target.name, node: id });
    } else {
      this.#change(target.directory, { kind: 'add', name: target.name, node: id });
      this.#change(source.directory, { kind: 'remove', name: source.name, node: id });
    }
  }

  #write(file: FileNode, position: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const end = position + bytes.length;
    file.bytes = grown(file.bytes, end);
    file.bytes.set(bytes, position);
    for (let at = Math.min(position, file.size); at < end; at = (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES) {
      file.dirty.add(Math.floor(at / SECTOR_BYTES));
    }
    file.size = Math.max(file.size, end);
  }

  #truncate(file: FileNode, length: number): void {
    if (length < file.size) {
      file.bytes.fill(0, length, file.size);
      file.smallest = Math.min(file.smallest, length);
      for (const sector of file.dirty) if (sector * SECTOR_BYTES >= length) file.dirty.delete(sector);
    } else {
      file.bytes = grown(file.bytes, length);
    }
    file.size = length;
  }

  #sync(file: FileNode): void {
    file.kept = grown(file.kept, file.size);
    if (file.smallest < file.keptSize) file.kept.fill(0, file.smallest, file.keptSize);
    for (const sector of file.dirty) {
      const from = sector * SECTOR_BYTES;
      file.kept.set(file.bytes.subarray(from, Math.min(from + SECTOR_BYTES, file.size)), from);
    }
    file.keptSize = file.size;
    file.smallest = file.size;
    file.dirty.clear();
  }

  #sweep(): void {
    const used = new Set<number>([ROOT]);
    for (const node of this.nodes.values()) {
      if (node.kind !== 'directory') continue;
      for (const id of node.entries.values()) used.add(id);
      for (const id of node.kept.values()) used.add(id);
      for (const change of node.pending) used.add(change.node);
    }
    for (const [id, node] of this.nodes) {
      if (!used.has(id) && (node.kind === 'directory' || node.handles === 0)) this.nodes.delete(id);
    }
  }
}
