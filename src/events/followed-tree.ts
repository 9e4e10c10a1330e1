/** A session and the parent it had at one place of the log; null for a root, and where the parent does not matter. */
export interface TreeNode {
  readonly id: string;
  readonly parentId: string | null;
}

/**
 * The sessions a stream follows: those it names, and all that are below them at one place of the log. A named one is never left out;
 * another is in as long as its parent is.
 */
export class FollowedTree {
  readonly #named: ReadonlySet<string>;
  readonly #parents = new Map<string, string | null>();
  readonly #children = new Map<string, Set<string>>();

  /** @param named UUIDs */
  constructor(named: Iterable<string>) {
    this.#named = new Set(named);
    this.reset([]);
  }

  get named(): Iterable<string> {
    return this.#named;
  }

  get ids(): Iterable<string> {
    return this.#parents.keys();
  }

  has(id: string): boolean {
    return this.#parents.has(id);
  }

  /** Starts anew with these descendants. */
  reset(nodes: Iterable<TreeNode>): void {
    this.#parents.clear();
    this.#children.clear();
    for (const id of this.#named) this.#parents.set(id, null);
    for (const node of nodes) this.join(node);
  }

  /** A session has got a parent that is followed. */
  join({ id, parentId }: TreeNode): void {
    if (parentId === null) return;
    this.#parents.set(id, parentId);
    const children = this.#children.get(parentId);
    if (children === undefined) this.#children.set(parentId, new Set([id]));
    else children.add(id);
  }

  /**
   * A session has lost its parent.
   * @returns the sessions that are followed no longer: it and those below it, as far as they are not named
   */
  leave(id: string): readonly string[] {
    const left: string[] = [];
    const parent = this.#parents.get(id) ?? null;
    if (parent !== null) {
      const siblings = this.#children.get(parent);
      if (siblings?.delete(id) === true && siblings.size === 0) this.#children.delete(parent);
    }
    for (const waiting = [id]; waiting.length > 0; ) {
      const next = waiting.pop();
      if (next === undefined) break;
      if (this.#named.has(next)) {
        this.#parents.set(next, null);
        continue;
      }
      if (this.#parents.delete(next)) left.push(next);
      waiting.push(...(this.#children.get(next) ?? []));
      this.#children.delete(next);
    }
    return left;
  }
}
