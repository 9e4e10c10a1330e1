import { FollowedTree, type TreeNode } from './followed-tree.ts';
import { leftParent, linkedParent, type StoredEvent } from './stored-event.ts';

/** Which events a subscription delivers: those that pass all filters. */
export interface EventMatch {
  /** UUIDs in lower case. Null for all sessions. */
  readonly sessionIds: readonly string[] | null;
  /** Null for all agents. */
  readonly agentIds: readonly string[] | null;
  /** Null for all types. */
  readonly types: readonly string[] | null;
  /** Also deliver events of the descendants of `sessionIds`, while they are descendants. */
  readonly followChildren: boolean;
  /** End the stream after the event that removes one of `sessionIds` for good. */
  readonly endsWithSession?: boolean;
}

/** Decides which events a subscription delivers. It tracks which sessions the subscription follows at its position of the log. */
export class EventMatcher {
  readonly match: EventMatch;
  /** The descendants that are followed. Null if the subscription follows no children. */
  readonly #tree: FollowedTree | null;
  #isTreeCurrent = false;
  /** `seq` of the last event that changed the tree. */
  #treeChangedAt = 0n;
  readonly #sessions: ReadonlySet<string> | null;
  readonly #agents: ReadonlySet<string> | null;
  readonly #types: ReadonlySet<string> | null;

  constructor(match: EventMatch) {
    const { sessionIds, agentIds, types, followChildren } = match;
    this.match = match;
    this.#tree = followChildren && sessionIds !== null ? new FollowedTree(sessionIds) : null;
    this.#sessions = sessionIds && new Set(sessionIds);
    this.#agents = agentIds && new Set(agentIds);
    this.#types = types && new Set(types);
  }

  /** The sessions whose events can match now. Null for all. */
  get sessionIds(): Iterable<string> | null {
    return this.#tree?.ids ?? this.#sessions;
  }

  /** The agents whose events can match. Null for all. */
  get agentIds(): Iterable<string> | null {
    return this.#agents;
  }

  /** True if a filter is an empty list. */
  get matchesNothing(): boolean {
    return [this.#sessions, this.#agents, this.#types].some(set => set?.size === 0);
  }

  /** The requested sessions, if the tree of their descendants must be read from the database. */
  get unreadRoots(): readonly string[] | null {
    return this.#tree === null || this.#isTreeCurrent ? null : [...this.#tree.requestedIds];
  }

  /** The types of the events that the subscription needs: those it delivers, and the one that may end it. Null for all types. */
  get neededTypes(): readonly string[] | null {
    const { types, endsWithSession } = this.match;
    return types !== null && endsWithSession === true ? [...types, 'DELETED'] : types;
  }

  /** Whether no event that matches comes after this one. */
  isLast(event: StoredEvent): boolean {
    if (this.match.endsWithSession !== true || event.type !== 'DELETED' || !event.payload.permanent) return false;
    return this.#sessions?.has(event.sessionId) === true;
  }

  matches(event: StoredEvent): boolean {
    if (this.#types !== null && !this.#types.has(event.type)) return false;
    if (this.#agents !== null && !this.#agents.has(event.agentId)) return false;
    return (this.#tree ?? this.#sessions)?.has(event.sessionId) ?? true;
  }

  /** Sets the tree as it is at the subscription's position. */
  setTree(nodes: Iterable<TreeNode>): void {
    this.#tree?.reset(nodes);
    this.#isTreeCurrent = true;
  }

  /** The subscription continues at an earlier position: a tree that has changed since must be read again. */
  rewind(position: bigint): void {
    if (this.#treeChangedAt > position) this.#isTreeCurrent = false;
  }

  /**
   * If the event makes its session the child of a followed session: the new node of the tree. Else null.
   * `mayHaveDescendants`: the session was not created just now and is new in the tree, so its descendants must be read from the database.
   */
  newChild(event: StoredEvent): { readonly node: TreeNode; readonly mayHaveDescendants: boolean } | null {
    const parentId = linkedParent(event);
    if (this.#tree === null || parentId === null || !this.#tree.has(parentId)) return null;
    const mayHaveDescendants = event.type !== 'CREATED' && !this.#tree.has(event.sessionId);
    return { node: { id: event.sessionId, parentId }, mayHaveDescendants };
  }

  /**
   * Adds the event's session, and perhaps its descendants, to the followed sessions.
   * @returns true if the event's session was not followed before
   */
  follow(nodes: readonly TreeNode[], event: StoredEvent): boolean {
    const isNew = this.#tree?.has(event.sessionId) === false;
    for (const node of nodes) this.#tree?.add(node);
    this.#treeChangedAt = event.seq;
    return isNew;
  }

  /**
   * If the event takes its session's parent away: stops following this session and its descendants.
   * @returns the sessions that are no longer followed
   */
  unfollow(event: StoredEvent): readonly string[] {
    if (this.#tree === null || leftParent(event) === null || !this.#tree.has(event.sessionId)) return [];
    this.#treeChangedAt = event.seq;
    return this.#tree.detach(event.sessionId);
  }
}
