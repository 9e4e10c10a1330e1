import { expect } from 'vitest';
import type { TestApp } from '../../support/app.ts';
import { type ListArguments, watchList } from './live-list.ts';
import { randomMutations } from './random-mutations.ts';

/** The number of random mutations and writers, and in how many rounds the lists are compared with the query. */
interface LiveListRun {
  readonly seed: number;
  readonly mutations: number;
  readonly rounds: number;
  readonly writers: number;
}

/** Lists with various filters, orders and sizes. */
function lists(parentId: string): readonly ListArguments[] {
  return [
    { first: 1 },
    { first: 5, total: false },
    { first: 50 },
    { first: 0 },
    { first: 5, filter: { status: { in: ['WORKING', 'ACTIVE'] } }, orderBy: [{ field: 'TITLE', direction: 'ASC' }] },
    { first: 5, filter: { search: 'needle' }, total: false },
    { first: 50, filter: { search: 'needle' }, orderBy: [{ field: 'CREATED_AT' }] },
    { first: 5, filter: { trashed: true }, orderBy: [{ field: 'UPDATED_AT' }] },
    { first: 5, filter: { root: true, empty: false }, orderBy: [{ field: 'MESSAGE_COUNT' }] },
    { first: 50, filter: { root: false }, orderBy: [{ field: 'CREATED_AT', direction: 'ASC' }] },
    { first: 50, filter: { parentId }, orderBy: [{ field: 'STARTED_AT' }] },
    { first: 5, filter: { tags: ['red'] }, orderBy: [{ field: 'PRIORITY' }, { field: 'TITLE', direction: 'ASC' }] },
    { first: 5, filter: { metadata: { team: 'a' }, archived: false }, orderBy: [{ field: 'TOTAL_TOKENS' }] },
    { first: 50, filter: { or: [{ label: { isNull: false } }, { pinned: true }] }, orderBy: [{ field: 'ENDED_AT', direction: 'ASC' }] },
    { first: 1, filter: { agentId: { eq: 'coder' }, not: { status: { eq: 'ENDED' } } } },
    { first: 5, filter: { activeWithinMinutes: 5, title: { contains: 'A' } } },
  ];
}

/** Runs random mutations and compares every list with the query after each round. Returns the number of events. */
export async function runLiveLists(app: TestApp, { seed, mutations, rounds, writers }: LiveListRun): Promise<number> {
  const randomWriters = randomMutations(app, { seed, writers });
  const before = Math.ceil(mutations / 10);
  await randomWriters.run(before);
  const live = await Promise.all(lists(String(randomWriters.sessions[0]?.id)).map(list => watchList(app, list)));
  for (let round = 1; round <= rounds; round += 1) {
    await randomWriters.run(Math.ceil((mutations - before) / rounds));
    await Promise.all(live.map(list => list.settle()));
  }
  // A list without changes would prove little.
  for (const { events } of live) expect(events.length).toBeGreaterThan(1);
  const total = live.reduce((sum, { events }) => sum + events.length, 0);
  await Promise.all(live.map(list => list.close()));
  return total;
}
