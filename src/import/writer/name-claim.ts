import { Prisma } from '../../generated/prisma/client.ts';
import { isTerminal } from '../../modules/session/session.rules.ts';
import type { SourceFields } from '../source.ts';
import { decideField, type FieldHashes, hashValue } from './field-merge.ts';
import { ConcurrentChangeError, type ImportContext } from './import-context.ts';
import { statusChanged, writeEvents } from './import-events.ts';
import { RESERVED, readHashes, updateHashes } from './last-import.ts';
import { type ImportedSession, readSessionRow, updateSessionRow, withUpdatedAt } from './session-row.ts';

/** The source's fields. A key or label that another session has is moved to `extra`. */
export interface ClaimedNames {
  readonly fields: SourceFields;
  /** Names in `extra` that the merge must not remove although the source does not state them. */
  readonly protectedExtra: readonly string[];
}

const EXTRA_KEY = 'sessionKey';
const EXTRA_LABEL = 'label';

const RESET_REASON = 'reset';

/**
 * Gives the session its key and label if no other session has them; else they go to `extra`.
 * @param hashes the hash of a name that is taken is added to it, so that the next import does not ask for it again
 * @param always claims the names even if they did not change at the source: the session is new, or no longer superseded
 * @throws ConcurrentChangeError
 */
export async function claimNames(
  context: ImportContext,
  row: ImportedSession,
  fields: SourceFields,
  hashes: Record<string, string>,
  always: boolean,
): Promise<ClaimedNames> {
  const { key, label } = fields;
  const extra: Record<string, unknown> = { ...fields.extra };
  const taken: { key?: null | undefined; label?: undefined } = {};
  const isLive = row.supersededAt === null;
  const wants = (name: 'key' | 'label') => isLive && (always || decideField(hashes[name], row[name], fields[name]) === 'apply');
  if (key != null && wants('key') && !(await freeKey(context, row, key))) {
    extra[EXTRA_KEY] = key;
    // A session that is no longer superseded still has its old key, which another session may have taken since.
    taken.key = row.key === key ? null : undefined;
    hashes.key = hashValue(key);
    context.report('key taken by another session', key);
  }
  if (label != null && wants('label') && (await findHolder(context, row, 'label', label)) !== null) {
    extra[EXTRA_LABEL] = label;
    taken.label = undefined;
    hashes.label = hashValue(label);
    context.report('label taken by another session', label);
  }
  const protectedExtra = [...(key == null ? [] : [EXTRA_KEY]), ...(label == null ? [] : [EXTRA_LABEL])];
  return { fields: { ...fields, ...taken, ...(fields.extra === undefined ? {} : { extra }) }, protectedExtra };
}

async function findHolder(
  { transaction }: ImportContext,
  row: ImportedSession,
  column: 'key' | 'label',
  value: string,
): Promise<string | null> {
  const [holder] = await transaction.rows<{ id: string }>(Prisma.sql`
    select id from aria_engine.chat_sessions
    where agent_id = ${row.agentId} and ${Prisma.raw(column)} = ${value} and id <> ${row.id}::uuid
      and deleted_at is null and superseded_at is null`);
  return holder?.id ?? null;
}

/**
 * Takes a key away from another session if that session got it from this source, which now gives it to the imported session.
 * If the source still has a key for the other session, that session only loses this one; else it is superseded, as after a reset.
 * @returns true if the key is free now; false if the other session did not get its key from this source
 */
async function freeKey(context: ImportContext, row: ImportedSession, key: string): Promise<boolean> {
  const { transaction, source, options } = context;
  const holderId = await findHolder(context, row, 'key', key);
  if (holderId === null) return true;
  // Read everything under the lock: another import or a delete may be changing this session.
  const holder = await readSessionRow(transaction, holderId, { lock: !options.dryRun });
  if (holder === null || holder.key !== key || holder.supersededAt !== null || holder.deletedAt !== null) throw new ConcurrentChangeError();
  const hashes = await readHashes(transaction, holderId, source.system);
  if (hashes === null || hashes.key !== hashValue(key)) return false;
  if (options.dryRun) return true;
  if (options.sessionsWithKey.has(holderId)) await removeKey(context, holder, hashes);
  else await supersede(context, holder, hashes);
  return true;
}

async function removeKey({ transaction, now }: ImportContext, holder: ImportedSession, hashes: FieldHashes): Promise<void> {
  await updateSessionRow(transaction, withUpdatedAt({ ...holder, key: null, version: holder.version + 1 }, now), null);
  await writeEvents(transaction, holder, [{ type: 'UPDATED', payload: { changed: ['key'] } }]);
  await updateHashes(transaction, holder.id, { ...withoutSource(hashes), key: hashValue(null) });
}

async function supersede({ transaction, now }: ImportContext, holder: ImportedSession, hashes: FieldHashes): Promise<void> {
  const isOpen = !isTerminal(holder.status);
  const end = isOpen ? ({ status: 'ENDED', statusReason: RESET_REASON, endedAt: holder.lastActivityAt } as const) : {};
  const ended = withUpdatedAt({ ...holder, ...end, version: holder.version + 1, supersededAt: now }, now);
  await updateSessionRow(transaction, ended, null);
  await writeEvents(transaction, holder, [
    isOpen ? statusChanged(holder, ended, now) : { type: 'UPDATED', payload: { changed: ['supersededAt'] } },
  ]);
  await updateHashes(transaction, holder.id, {
    ...withoutSource(hashes),
    [RESERVED.superseded]: 'import',
    ...(isOpen ? { status: hashValue([ended.status, ended.statusReason, ended.endedAt]) } : {}),
  });
}

/** Without the hash of the whole source, so that the next import compares field by field. */
function withoutSource({ [RESERVED.source]: _outdated, ...kept }: FieldHashes): FieldHashes {
  return kept;
}
