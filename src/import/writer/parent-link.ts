import { Prisma } from '../../generated/prisma/client.ts';
import { canonicalKey } from '../../modules/session-key/session-key.rules.ts';
import type { Executor } from '../../postgres/database.ts';
import type { SourceFields, SourceSession } from '../source.ts';
import { decideField, hashValue } from './field-merge.ts';
import type { ImportContext, ImportOptions } from './import-context.ts';
import type { ImportedSession } from './session-row.ts';

/** A session after its parent was linked. */
export interface LinkedSession {
  readonly row: ImportedSession;
  /** The source's fields. If the parent was not linked, its name is in `extra`. */
  readonly fields: SourceFields;
  /** UUID of the parent if it was linked just now, else null. */
  readonly parentId: string | null;
}

/** UUID of the parent that a source names; null if it names none or we have no such session. */
export async function findParent(transaction: Executor, { parent }: SourceSession, { rules }: ImportOptions): Promise<string | null> {
  if (parent == null || parent.id !== null) return parent?.id ?? null;
  const { agentId } = canonicalKey(parent.key, rules);
  const [row] = await transaction.rows<{ id: string }>(Prisma.sql`
    select id from aria_engine.chat_sessions
    where key = ${parent.key} and agent_id = coalesce(${agentId}, agent_id) and deleted_at is null and superseded_at is null
    order by id limit 1`);
  return row?.id ?? null;
}

/**
 * Links the parent that a source names. A session's parent is set only once. If the parent cannot be linked, its name goes to `extra`.
 * @param hashes the hash of a new link is added to it
 */
export async function linkParent(
  { transaction, source, options, report }: ImportContext,
  row: ImportedSession,
  fields: SourceFields,
  hashes: Record<string, string>,
  { parentId, created }: { readonly parentId: string | null; readonly created: boolean },
): Promise<LinkedSession> {
  const { parent } = source;
  if (parent == null) return { row, fields, parentId: null };
  const dangling = { ...fields, extra: { ...fields.extra, [parent.extraName]: parent.raw } };
  if (parentId === null || row.parentId !== null)
    return { row, fields: parentId !== null && row.parentId === parentId ? fields : dangling, parentId: null };
  const decision = created ? 'apply' : decideField(hashes.parent, row.parentId, parentId);
  if (decision !== 'apply') return { row, fields, parentId: null };
  if (!options.dryRun && !(await canBeParent(transaction, row.id, parentId, created))) {
    report('parent not linked', parent.raw);
    return { row, fields: dangling, parentId: null };
  }
  hashes.parent = hashValue(parentId);
  return { row: { ...row, parentId }, fields, parentId };
}

/** Whether the parent exists and the session is not among the parent's ancestors, which would make a cycle. */
async function canBeParent(transaction: Executor, id: string, parentId: string, created: boolean): Promise<boolean> {
  let ancestors = await readAncestors(transaction, parentId);
  // A new session is nobody's ancestor, so no lock is needed.
  for (let locked = created ? ancestors.join() : ''; locked !== ancestors.join(); ) {
    // Every writer locks a session before it sets its parent, so the locked sessions keep theirs. Read again what changed before the lock.
    locked = ancestors.join();
    await transaction.rows(Prisma.sql`
      select from aria_engine.chat_sessions where id = any(${ancestors}::uuid[]) order by id for no key update`);
    ancestors = await readAncestors(transaction, parentId);
  }
  return ancestors.length > 0 && !ancestors.includes(id);
}

/** A session and its ancestors, from the session upwards; empty if there is no such session. */
async function readAncestors(transaction: Executor, id: string): Promise<readonly string[]> {
  const rows = await transaction.rows<{ id: string }>(Prisma.sql`
    with recursive ancestor as (
      select id, parent_id from aria_engine.chat_sessions where id = ${id}::uuid
      union
      select s.id, s.parent_id from ancestor join aria_engine.chat_sessions s on s.id = ancestor.parent_id
    )
    select id from ancestor`);
  return rows.map(row => row.id);
}
