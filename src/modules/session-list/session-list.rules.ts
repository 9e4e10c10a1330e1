import { parseSessionId } from '../../global-id.ts';
import type { SessionFilter, SetFilter } from '../session-filter/session-filter.rules.ts';

/** A session in a list. */
export interface ListEntry {
  /** UUID. */
  readonly id: string;
  /** Changes with each write to the session's rows. */
  readonly stamp: string;
}

/**
 * One step from a list to the next: remove the session at `fromIndex`, then insert it at `toIndex`. A null index means no removal or no
 * insertion. `fromIndex` counts in the list after the previous steps, `toIndex` in that list after the removal.
 */
export interface ListChange {
  readonly type: 'ADDED' | 'UPDATED' | 'REMOVED';
  /** UUID. */
  readonly id: string;
  readonly fromIndex: number | null;
  readonly toIndex: number | null;
}

/**
 * The steps that turn `before` into `after`: first the removals, so that the list is never longer than the longer of both; then one step for
 * each session that is new, changed or must move. If a changed session passes unchanged ones, the changed one moves.
 * Takes time quadratic in the length of the lists.
 */
export function listChanges(before: readonly ListEntry[], after: readonly ListEntry[]): readonly ListChange[] {
  const kept = new Set(after.map(entry => entry.id));
  const stamps = new Map(before.map(entry => [entry.id, entry.stamp]));
  const list = before.map(entry => entry.id);
  const changes: ListChange[] = [];
  for (let index = list.length - 1; index >= 0; index--) {
    const id = list[index];
    if (id === undefined || kept.has(id)) continue;
    list.splice(index, 1);
    changes.push({ type: 'REMOVED', id, fromIndex: index, toIndex: null });
  }
  const staying = stayingEntries(list, stamps, after);
  let previous: string | null = null;
  for (const { id, stamp } of after) {
    const fromIndex = list.indexOf(id);
    if (!staying.has(id)) {
      if (fromIndex !== -1) list.splice(fromIndex, 1);
      // Sessions in between still have to move; their own steps do that.
      const toIndex = previous === null ? 0 : list.indexOf(previous) + 1;
      list.splice(toIndex, 0, id);
      changes.push(fromIndex === -1 ? { type: 'ADDED', id, fromIndex: null, toIndex } : { type: 'UPDATED', id, fromIndex, toIndex });
    } else if (stamps.get(id) !== stamp) {
      changes.push({ type: 'UPDATED', id, fromIndex, toIndex: fromIndex });
    }
    previous = id;
  }
  return changes;
}

/** The sessions that need not move: of all sets that have the same order in both lists, the one with the most unchanged sessions. */
function stayingEntries(list: readonly string[], stamps: ReadonlyMap<string, string>, after: readonly ListEntry[]): ReadonlySet<string> {
  const places = new Map(list.map((id, index) => [id, index]));
  const ends: { readonly id: string; readonly place: number; readonly weight: number; readonly before: number }[] = [];
  for (const { id, stamp } of after) {
    const place = places.get(id);
    if (place === undefined) continue;
    let weight = 0;
    let best = -1;
    for (const [index, end] of ends.entries()) {
      if (end.place < place && end.weight > weight) {
        weight = end.weight;
        best = index;
      }
    }
    // One unchanged session outweighs all changed ones, because those get a step in any case.
    ends.push({ id, place, weight: weight + (stamps.get(id) === stamp ? after.length + 1 : 1), before: best });
  }
  const staying = new Set<string>();
  let end = ends.reduce<(typeof ends)[number] | undefined>((best, each) => (best && best.weight >= each.weight ? best : each), undefined);
  while (end !== undefined) {
    staying.add(end.id);
    end = ends[end.before];
  }
  return staying;
}

/** The times without activity, in minutes, after which a session may start or stop matching the filter without a write. */
export function activityWindows(filter: SessionFilter | null | undefined): readonly number[] {
  if (filter == null) return [];
  const parts = [...(filter.and ?? []), ...(filter.or ?? []), filter.not].flatMap(activityWindows);
  return [...new Set(filter.activeWithinMinutes == null ? parts : [filter.activeWithinMinutes, ...parts])];
}

/** The sessions that can be in a list: those that pass both. */
export interface ListScope {
  /** UUIDs in lower case. Null for all sessions. */
  readonly sessions: ReadonlySet<string> | null;
  /** Null for all agents. */
  readonly agents: ReadonlySet<string> | null;
}

/**
 * The sessions that can match the filter, as far as it names sessions or agents.
 * @param visibleAgents the agents that the viewer may see; null for all
 */
export function scopeOf(filter: SessionFilter | null | undefined, visibleAgents: readonly string[] | null): ListScope {
  const ids = namedValues(filter?.id);
  const named = namedValues(filter?.agentId);
  const agents = named === null || visibleAgents === null ? (named ?? visibleAgents) : named.filter(id => visibleAgents.includes(id));
  return {
    // A malformed id matches nothing.
    sessions: ids && new Set(ids.map(parseSessionId).filter(id => id !== null)),
    agents: agents && new Set(agents),
  };
}

/** Whether an event of this session can change a list. */
export function isInScope({ sessions, agents }: ListScope, { sessionId, agentId }: { sessionId: string; agentId: string }): boolean {
  return (sessions === null || sessions.has(sessionId)) && (agents === null || agents.has(agentId));
}

/** The values that can match. Null if the filter does not restrict them. */
function namedValues(filter: SetFilter<string> | null | undefined): readonly string[] | null {
  const { eq, in: among } = filter ?? {};
  if (eq != null) return [eq];
  return among ?? null;
}
