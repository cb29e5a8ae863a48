/**
 * The clock of the main thread, less the time in which it was ready to run and other programs had its processor. Linux counts that to the
 * nanosecond (`/proc/…/schedstat`, second figure: Documentation/scheduler/sched-stats); elsewhere this is the monotonic clock.
 */

import { openSync, readSync } from 'node:fs';

const bytes = new Uint8Array(96);
const SPACE = 0x20;

function open(): number | undefined {
  try {
    return openSync(`/proc/self/task/${String(process.pid)}/schedstat`, 'r');
  } catch {
    return undefined;
  }
}

const file = open();

/** Milliseconds in which the thread waited for a processor, since it began. */
function queuedMs(fd: number): number {
  const length = readSync(fd, bytes, 0, bytes.length, 0);
  let at = bytes.indexOf(SPACE) + 1;
  let nanoseconds = 0;
  for (; at < length && bytes[at] !== SPACE; at += 1) nanoseconds = nanoseconds * 10 + (bytes[at] ?? 0) - 0x30;
  return nanoseconds / 1e6;
}

/** Milliseconds, from some moment on. */
export function ownClockMs(): number {
  if (file === undefined) return performance.now();
  // Both as of one moment: not with the processor lost in between.
  for (let queued = queuedMs(file); ;) {
    const now = performance.now();
    const again = queuedMs(file);
    if (again === queued) return now - queued;
    queued = again;
  }
}
