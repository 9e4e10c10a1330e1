import { isTerminal } from '../../modules/session/session.rules.ts';
import type { SourceFields } from '../source.ts';
import { decideField, type FieldHashes, hashValue } from './field-merge.ts';
import type { ImportContext } from './import-context.ts';
import { statusChanged, writeEvents } from './import-events.ts';
import { RECORD, readRecord, updateRecord } from './import-record.ts';
import { ChangedMeanwhileError } from './import-retry.ts';
import { readSessionRow, type SessionRow, stamped, updateSessionRow } from './session-row.ts';

/** The source's fields with the names that are free to take, and what of `extra` stands for names that are not. */
export interface ClaimedNames {
  readonly fields: SourceFields;
  readonly protectedExtra: readonly string[];
}

const EXTRA_KEY = 'sessionKey';
const EXTRA_LABEL = 'label';

const RESET_REASON = 'reset';

/**
 * Takes key and label where nobody else has them; else they go to `extra`.
 * @param hashes as recorded; a name that is taken is noted in it, so that it is not asked for again
 * @param anew the session is being made, or comes back to the front
 * @throws ChangedMeanwhileError
 */
export async function claimNames(
  context: ImportContext,
  row: SessionRow,
  fields: SourceFields,
  hashes: Record<string, string>,
  anew: boolean,
): Promise<ClaimedNames> {
  const { key, label } = fields;
  const extra: Record<string, unknown> = { ...fields.extra };
  const taken: { key?: null | undefined; label?: undefined } = {};
  const live = row.supersededAt === null;
  const wants = (name: 'key' | 'label') => live && (anew || decideField(hashes[name], row[name], fields[name]) === 'apply');
  if (key != null && wants('key') && !(await freeKey(context, row, key))) {
    extra[EXTRA_KEY] = key;
    // A session that comes back to the front must not bring a key somebody else has by now.
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

async function findHolder({ client }: ImportContext, row: SessionRow, column: 'key' | 'label', value: string): Promise<string | null> {
  const { rows } = await client.query<{ id: string }>(
    `select id from aria_engine.chat_sessions
     where agent_id = $1 and ${column} = $2 and id <> $3 and deleted_at is null and superseded_at is null`,
    [row.agentId, value, row.id],
  );
  return rows[0]?.id ?? null;
}

/**
 * Makes a key free that the source has given to this session. The session that had it from the source becomes history, as after a reset,
 * or gives it up where the source has another key for it. @returns false where it did not come from the source
 */
async function freeKey(context: ImportContext, row: SessionRow, key: string): Promise<boolean> {
  const { client, source, options } = context;
  const holderId = await findHolder(context, row, 'key', key);
  if (holderId === null) return true;
  // Everything of it is read under its lock: another import may be at it, and somebody may be putting it into the trash.
  const holder = await readSessionRow(client, holderId, { lock: !options.dryRun });
  if (holder === null || holder.key !== key || holder.supersededAt !== null || holder.deletedAt !== null) throw new ChangedMeanwhileError();
  const hashes = await readRecord(client, holderId, source.system);
  if (hashes === null || hashes.key !== hashValue(key)) return false;
  if (options.dryRun) return true;
  if (options.keysAtSource.has(holderId)) await takeKey(context, holder, hashes);
  else await supersede(context, holder, hashes);
  return true;
}

async function takeKey({ client, now }: ImportContext, holder: SessionRow, hashes: FieldHashes): Promise<void> {
  await updateSessionRow(client, stamped({ ...holder, key: null, version: holder.version + 1 }, now), null);
  await writeEvents(client, holder, [{ type: 'UPDATED', payload: { changed: ['key'] } }]);
  await updateRecord(client, holder.id, { ...withoutSource(hashes), key: hashValue(null) });
}

async function supersede({ client, now }: ImportContext, holder: SessionRow, hashes: FieldHashes): Promise<void> {
  const open = !isTerminal(holder.status);
  const end = open ? ({ status: 'ENDED', statusReason: RESET_REASON, endedAt: holder.lastActivityAt } as const) : {};
  const ended = stamped({ ...holder, ...end, version: holder.version + 1, supersededAt: now }, now);
  await updateSessionRow(client, ended, null);
  await writeEvents(client, holder, [
    open ? statusChanged(holder, ended, now) : { type: 'UPDATED', payload: { changed: ['supersededAt'] } },
  ]);
  await updateRecord(client, holder.id, {
    ...withoutSource(hashes),
    [RECORD.superseded]: 'import',
    ...(open ? { status: hashValue([ended.status, ended.statusReason, ended.endedAt]) } : {}),
  });
}

/** What the source said last no longer stands: it is compared field by field when it is next imported. */
function withoutSource({ [RECORD.source]: _outdated, ...kept }: FieldHashes): FieldHashes {
  return kept;
}
