/** How the open-loop generator reads answers, refusals among them. */

export interface ReadAnswer {
  readonly length: number;
  /** `good`, `refused`, or the first word of another failure. */
  readonly kind: string;
}

/** The answer that starts at `from`; undefined while it is incomplete. */
export type AnswerReader = (bytes: Buffer, from: number) => ReadAnswer | undefined;

const CR = 13;
const HEAD_END = Buffer.from('\r\n\r\n');
const OK_LINE: ReadAnswer = { length: 5, kind: 'good' };

const resp: AnswerReader = (bytes, from) => {
  const end = bytes.indexOf(CR, from);
  if (end < 0 || end + 1 >= bytes.length) return undefined;
  const length = end + 2 - from;
  switch (bytes[from]) {
    case 0x2b:
      return length === 5 ? OK_LINE : { length, kind: 'good' };
    case 0x2d: {
      const kind = bytes.toString('latin1', from + 1, Math.max(from + 1, bytes.indexOf(' ', from)));
      return { length, kind: kind === 'BUSY' ? 'refused' : kind };
    }
    default: {
      const size = Number(bytes.toString('latin1', from + 1, end));
      const whole = length + (size < 0 ? 0 : size + 2);
      return from + whole <= bytes.length ? { length: whole, kind: 'good' } : undefined;
    }
  }
};

const http: AnswerReader = (bytes, from) => {
  const end = bytes.indexOf(HEAD_END, from);
  if (end < 0) return undefined;
  const head = bytes.toString('latin1', from, end);
  const status = head.slice(9, 12);
  const size = status === '204' ? 0 : Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? Number.NaN);
  if (Number.isNaN(size)) throw new Error(`an answer without a length: ${head}`);
  const length = end + 4 + size - from;
  if (from + length > bytes.length) return undefined;
  const busy = status === '503' && bytes.indexOf('"BUSY"', end) >= 0;
  return { length, kind: status < '300' || status === '404' ? 'good' : busy ? 'refused' : status };
};

export const ANSWERS: Readonly<Record<'resp' | 'http', AnswerReader>> = { resp, http };
