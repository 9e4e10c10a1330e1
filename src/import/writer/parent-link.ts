import type { ClientBase } from 'pg';
import { canonicalKey } from '../../modules/session-key/session-key.rules.ts';
import type { SourceFields, SourceSession } from '../source.ts';
import { decideField, hashValue } from './field-merge.ts';
import type { ImportContext, ImportWriterOptions } from './import-context.ts';
import type { SessionRow } from './session-row.ts';

/** A session with its parent, and the source's fields with the name of one that is not linked in `extra`. */
export interface LinkedSession {
  readonly row: SessionRow;
  readonly fields: SourceFields;
  /** UUID of the parent it has been given just now, else null. */
  readonly parentId: string | null;
}

/** UUID of the parent a source names, null where there is none here or it names none. */
export async function findParent(client: ClientBase, { parent }: SourceSession, { rules }: ImportWriterOptions): Promise<string | null> {
  if (parent == null || parent.id !== null) return parent?.id ?? null;
  const { agentId } = canonicalKey(parent.key, rules);
  const { rows } = await client.query<{ id: string }>(
    `select id from aria_engine.chat_sessions
     where key = $1 and agent_id = coalesce($2, agent_id) and deleted_at is null and superseded_at is null order by id limit 1`,
    [parent.key, agentId],
  );
  return rows[0]?.id ?? null;
}

/**
 * Links the parent a source names. A parent is set once; one that is not there goes to `extra`.
 * @param hashes as recorded; the link is noted in it
 */
export async function linkParent(
  { client, source, options, report }: ImportContext,
  row: SessionRow,
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
  if (!options.dryRun && !(await canBeParent(client, row.id, parentId, created))) {
    report('parent not linked', parent.raw);
    return { row, fields: dangling, parentId: null };
  }
  hashes.parent = hashValue(parentId);
  return { row: { ...row, parentId }, fields, parentId };
}

/** Whether there is such a session and this one is not among its ancestors; an old session could otherwise close a circle. */
async function canBeParent(client: ClientBase, id: string, parentId: string, created: boolean): Promise<boolean> {
  let line = await readLine(client, parentId);
  for (let locked = created ? line.join() : ''; locked !== line.join(); ) {
    // Whoever gives one of them another parent locks it first: the line cannot change any more.
    locked = line.join();
    await client.query('select from aria_engine.chat_sessions where id = any($1::uuid[]) order by id for no key update', [line]);
    line = await readLine(client, parentId);
  }
  return line.length > 0 && !line.includes(id);
}

/** A session and its ancestors, from the bottom up. */
async function readLine(client: ClientBase, id: string): Promise<readonly string[]> {
  const { rows } = await client.query<{ id: string }>(
    `with recursive line as (
       select id, parent_id from aria_engine.chat_sessions where id = $1
       union
       select s.id, s.parent_id from line join aria_engine.chat_sessions s on s.id = line.parent_id
     )
     select id from line`,
    [id],
  );
  return rows.map(row => row.id);
}
