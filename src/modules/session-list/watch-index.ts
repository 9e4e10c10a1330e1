import { KeyedSets } from '../../events/keyed-sets.ts';
import type { StoredEvent } from '../../events/stored-event.ts';
import type { ListScope } from './session-list.rules.ts';

/** What events are passed to. */
interface EventWatch {
  readonly scope: ListScope;
  /** @returns true if the watch needs no further events for now */
  notice(event: StoredEvent): boolean;
}

/**
 * The watches that need the next events. An event reaches only those that name its session, or else its agent, and those that name neither.
 * Its cost does not depend on how many others there are.
 */
export class WatchIndex<Watch extends EventWatch> {
  readonly #bySession = new KeyedSets<Watch>();
  readonly #byAgent = new KeyedSets<Watch>();
  readonly #all = new Set<Watch>();

  add(watch: Watch): void {
    const { sessions, agents } = watch.scope;
    if (sessions !== null) for (const id of sessions) this.#bySession.add(id, watch);
    else if (agents !== null) for (const id of agents) this.#byAgent.add(id, watch);
    else this.#all.add(watch);
  }

  remove(watch: Watch): void {
    const { sessions, agents } = watch.scope;
    for (const id of sessions ?? []) this.#bySession.remove(id, watch);
    for (const id of agents ?? []) this.#byAgent.remove(id, watch);
    this.#all.delete(watch);
  }

  /** Passes an event on, and removes the watches that need no further events. */
  notify(event: StoredEvent): void {
    for (const watches of [this.#bySession.get(event.sessionId), this.#byAgent.get(event.agentId), this.#all]) {
      for (const watch of watches) if (watch.notice(event)) this.remove(watch);
    }
  }
}
