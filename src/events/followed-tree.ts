/** A session and its parent at one position of the log. */
export interface TreeNode {
  /** UUID. */
  readonly id: string;
  /** UUID. Null for a session without a parent, and for one whose parent does not matter. */
  readonly parentId: string | null;
}

/**
 * The sessions that a subscription follows: the requested sessions and their descendants at one position of the log. A requested session is
 * always followed; a descendant is followed while its parent is.
 */
export class FollowedTree {
  readonly #requested: ReadonlySet<string>;
  readonly #parents = new Map<string, string | null>();
  readonly #children = new Map<string, Set<string>>();

  /** @param requested UUIDs */
  constructor(requested: Iterable<string>) {
    this.#requested = new Set(requested);
    this.reset([]);
  }

  get requestedIds(): Iterable<string> {
    return this.#requested;
  }

  /** All followed sessions. */
  get ids(): Iterable<string> {
    return this.#parents.keys();
  }

  has(id: string): boolean {
    return this.#parents.has(id);
  }

  /** Replaces all descendants. */
  reset(descendants: Iterable<TreeNode>): void {
    this.#parents.clear();
    this.#children.clear();
    for (const id of this.#requested) this.#parents.set(id, null);
    for (const node of descendants) this.add(node);
  }

  /** Adds a session whose parent is followed. */
  add({ id, parentId }: TreeNode): void {
    if (parentId === null) return;
    this.#parents.set(id, parentId);
    const children = this.#children.get(parentId);
    if (children === undefined) this.#children.set(parentId, new Set([id]));
    else children.add(id);
  }

  /**
   * Separates a session from its parent.
   * @returns the sessions that are no longer followed: this one and its descendants, except requested ones
   */
  detach(id: string): readonly string[] {
    const removed: string[] = [];
    const parent = this.#parents.get(id) ?? null;
    if (parent !== null) {
      const siblings = this.#children.get(parent);
      if (siblings?.delete(id) === true && siblings.size === 0) this.#children.delete(parent);
    }
    for (const remaining = [id]; remaining.length > 0; ) {
      const next = remaining.pop();
      if (next === undefined) break;
      if (this.#requested.has(next)) {
        this.#parents.set(next, null);
        continue;
      }
      if (this.#parents.delete(next)) removed.push(next);
      remaining.push(...(this.#children.get(next) ?? []));
      this.#children.delete(next);
    }
    return removed;
  }
}
