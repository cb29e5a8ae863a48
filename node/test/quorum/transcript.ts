/**
 * Transcripts: a text file of blocks, each one or more commands, a line `----`, and what the machine then asked for, one effect a line. A block
 * ends at an empty line; lines that start with `#` are comments. `COTERIE_REWRITE=1` writes what happened in place of what was expected.
 */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

export interface Block {
  readonly commands: readonly string[];
  readonly expected: readonly string[];
  readonly comments: readonly string[];
}

function parse(text: string): Block[] {
  return text
    .split(/\n{2,}/)
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const lines = part.split('\n').filter((line) => line !== '');
      const comments = lines.filter((line) => line.startsWith('#'));
      const rest = lines.filter((line) => !line.startsWith('#'));
      const rule = rest.indexOf('----');
      return rule < 0
        ? { commands: rest, expected: [], comments }
        : { commands: rest.slice(0, rule), expected: rest.slice(rule + 1), comments };
    });
}

function format(blocks: readonly Block[]): string {
  const text = blocks.map(({ comments, commands, expected }) =>
    commands.length === 0 ? comments.join('\n') : [...comments, ...commands, '----', ...expected].join('\n'),
  );
  return `${text.join('\n\n')}\n`;
}

/** The files of a directory, by name. */
export function transcripts(directory: URL, prefix: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.startsWith(prefix) && name.endsWith('.txt'))
    .sort();
}

/**
 * Plays a file: `run` performs one command and answers its effects.
 *
 * @returns what happened and what was expected, as texts
 */
export function play(file: URL, run: (command: string) => readonly string[]): { readonly actual: string; readonly expected: string } {
  const blocks = parse(readFileSync(file, 'utf8'));
  const happened = blocks.map((block) => ({ ...block, expected: block.commands.flatMap((command) => run(command)) }));
  if (process.env['COTERIE_REWRITE'] === '1') writeFileSync(file, format(happened));
  return { actual: format(happened), expected: process.env['COTERIE_REWRITE'] === '1' ? format(happened) : format(blocks) };
}

/** `n=3 r=2` as a record. */
export function fields(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(words.map((word) => word.split('=', 2) as [string, string]));
}

/** The digits of `text` as bits: `02` is replicas 0 and 2. */
export function mask(text: string): number {
  return text === '' ? 0 : text.split(/(?=.)/).reduce((bits, digit) => bits | (1 << Number(digit)), 0);
}

/** A machine under test: performs commands, and notes what the machine then asks for. */
export abstract class MachineTranscript {
  #effects: string[] = [];

  readonly run = (command: string): string[] => {
    const [verb = '', ...words] = command.split(' ');
    this.#effects = [];
    this.perform(verb, words);
    return this.#effects;
  };

  protected abstract perform(verb: string, words: readonly string[]): void;

  protected note(effect: string): void {
    this.#effects.push(effect);
  }
}
