/** The messages of the failure detector: what a node tells another one now. */

import type { Accusation, Gossip, Introduction } from './gossip.ts';
import { ROW } from './gossip.ts';
import type { Detector } from './detector-state.ts';
import type { MemberTable } from './member-table.ts';
import { MOST_ACCUSATIONS, MOST_INTRODUCTIONS, MOST_ROWS } from './pace.ts';

/**
 * What the receiver must hear (accusations of itself, a life of its own that it may not know of), what is new, and in an exchange a part of the list.
 */
export function compose(state: Detector, receiver: number, exchange: boolean): Gossip {
  const { table, accusations, rules, cleared, said } = state;
  const rows: number[] = [];
  const told: Accusation[] = [];
  const introductions: Introduction[] = [];
  table.beginMessage();
  if ((said[receiver] ?? 0) < (table.incarnations[receiver] ?? 0)) table.add(rows, receiver);
  for (const [member, left] of cleared) {
    if (rows.length >= MOST_ROWS * ROW) break;
    table.add(rows, member);
    if (left <= 1) cleared.delete(member);
    else cleared.set(member, left - 1);
  }
  if (exchange) {
    table.fill(rows, MOST_ROWS, rules.self);
    for (let count = Math.min(MOST_INTRODUCTIONS, table.size); count > 0; count -= 1) introduce(table, rules.self, introductions);
  }
  if (!accusations.empty) accusations.tell(told, receiver, exchange, MOST_ACCUSATIONS);
  if (state.announcements > 0) state.announcements -= 1;
  return {
    incarnation: state.incarnation,
    heartbeat: state.heartbeat,
    load: state.load,
    epoch: state.epoch,
    store: rules.store,
    exchange,
    rows,
    introductions,
    accusations: told,
  };
}

function introduce(table: MemberTable, self: number, into: Introduction[]): void {
  const member = table.nextIntroduction();
  const store = member < 0 || member === self ? undefined : table.storeOf(member);
  if (store === undefined || into.some((one) => one.member === member)) return;
  into.push({ member, incarnation: table.introducedIn(member), store });
}

/** There is something that others should hear before the next round. */
export function hasNews(state: Detector): boolean {
  return state.announcements > 0 || state.cleared.size > 0 || state.accusations.news;
}
