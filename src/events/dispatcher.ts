import type { EventSubscription, EventTopics } from './event-subscription.ts';
import { leftParent, linkedParent, type StoredEvent } from './stored-event.ts';

/**
 * Hands events to the live subscriptions that want them, found by index: by session, else by agent, else among those that want all.
 * The cost of an event does not depend on how many subscriptions there are, only on how many watch its session or agent.
 */
export class EventDispatcher implements EventTopics {
  readonly #bySession = new Index();
  readonly #byAgent = new Index();
  /** Of those that follow children: by each session they watch. */
  readonly #byParent = new Index();
  readonly #all = new Set<EventSubscription>();

  add(subscription: EventSubscription): void {
    const { sessionIds, agentIds } = subscription;
    if (sessionIds !== null) for (const id of sessionIds) this.#watch(id, subscription);
    else if (agentIds !== null) for (const id of agentIds) this.#byAgent.add(id, subscription);
    else this.#all.add(subscription);
  }

  remove(subscription: EventSubscription): void {
    const { sessionIds, agentIds } = subscription;
    for (const id of sessionIds ?? []) this.#unwatch(id, subscription);
    for (const id of agentIds ?? []) this.#byAgent.remove(id, subscription);
    this.#all.delete(subscription);
  }

  /** Hands on one event; they must come in the order of the log. */
  dispatch(event: StoredEvent): void {
    const parent = linkedParent(event);
    if (parent !== null) {
      for (const subscription of this.#byParent.of(parent)) {
        if (subscription.adopt(event)) this.#watch(event.sessionId, subscription);
      }
    }
    for (const subscription of this.#bySession.of(event.sessionId)) subscription.push(event);
    for (const subscription of this.#byAgent.of(event.agentId)) subscription.push(event);
    for (const subscription of this.#all) subscription.push(event);
    // Only now: that it leaves is the last they are told.
    if (leftParent(event) !== null) {
      for (const subscription of [...this.#bySession.of(event.sessionId)]) {
        for (const id of subscription.release(event)) this.#unwatch(id, subscription);
      }
    }
  }

  #watch(sessionId: string, subscription: EventSubscription): void {
    this.#bySession.add(sessionId, subscription);
    if (subscription.followsChildren) this.#byParent.add(sessionId, subscription);
  }

  #unwatch(sessionId: string, subscription: EventSubscription): void {
    this.#bySession.remove(sessionId, subscription);
    this.#byParent.remove(sessionId, subscription);
  }
}

const NONE: ReadonlySet<EventSubscription> = new Set();

/** Subscriptions by topic; a topic nobody watches takes no room. */
class Index {
  readonly #topics = new Map<string, Set<EventSubscription>>();

  of(topic: string): ReadonlySet<EventSubscription> {
    return this.#topics.get(topic) ?? NONE;
  }

  add(topic: string, subscription: EventSubscription): void {
    const watching = this.#topics.get(topic);
    if (watching === undefined) this.#topics.set(topic, new Set([subscription]));
    else watching.add(subscription);
  }

  remove(topic: string, subscription: EventSubscription): void {
    const watching = this.#topics.get(topic);
    if (watching?.delete(subscription) === true && watching.size === 0) this.#topics.delete(topic);
  }
}
