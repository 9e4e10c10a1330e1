import type { EventSubscription, SubscriptionRegistry } from './event-subscription.ts';
import { KeyedSets } from './keyed-sets.ts';
import { leftParent, linkedParent, type StoredEvent } from './stored-event.ts';

/**
 * Pushes events to the live subscriptions that want them. An index finds these: by session, else by agent, else the subscriptions that want
 * all events. The cost of an event depends on how many subscriptions want its session or agent, not on how many there are.
 */
export class EventDispatcher implements SubscriptionRegistry {
  readonly #bySession = new KeyedSets<EventSubscription>();
  readonly #byAgent = new KeyedSets<EventSubscription>();
  /** Subscriptions that follow children, by each session they want. */
  readonly #byParent = new KeyedSets<EventSubscription>();
  readonly #all = new Set<EventSubscription>();

  add(subscription: EventSubscription): void {
    const { sessionIds, agentIds } = subscription;
    if (sessionIds !== null) for (const id of sessionIds) this.#addSession(id, subscription);
    else if (agentIds !== null) for (const id of agentIds) this.#byAgent.add(id, subscription);
    else this.#all.add(subscription);
  }

  remove(subscription: EventSubscription): void {
    const { sessionIds, agentIds } = subscription;
    for (const id of sessionIds ?? []) this.#removeSession(id, subscription);
    for (const id of agentIds ?? []) this.#byAgent.remove(id, subscription);
    this.#all.delete(subscription);
  }

  /**
   * Pushes one event. Call this in the order of the log.
   * @returns true if consumers must run before the next event, because buffers fill up
   */
  dispatch(event: StoredEvent): boolean {
    let isCrowded = false;
    const parent = linkedParent(event);
    if (parent !== null) {
      for (const subscription of this.#byParent.get(parent)) {
        if (subscription.followChild(event)) this.#addSession(event.sessionId, subscription);
      }
    }
    for (const subscription of this.#bySession.get(event.sessionId)) isCrowded = subscription.push(event) || isCrowded;
    for (const subscription of this.#byAgent.get(event.agentId)) isCrowded = subscription.push(event) || isCrowded;
    for (const subscription of this.#all) isCrowded = subscription.push(event) || isCrowded;
    if (leftParent(event) !== null) {
      for (const subscription of [...this.#bySession.get(event.sessionId)]) {
        for (const id of subscription.unfollow(event)) this.#removeSession(id, subscription);
      }
    }
    return isCrowded;
  }

  #addSession(sessionId: string, subscription: EventSubscription): void {
    this.#bySession.add(sessionId, subscription);
    if (subscription.followsChildren) this.#byParent.add(sessionId, subscription);
  }

  #removeSession(sessionId: string, subscription: EventSubscription): void {
    this.#bySession.remove(sessionId, subscription);
    this.#byParent.remove(sessionId, subscription);
  }
}
