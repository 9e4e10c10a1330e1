import { Prisma } from '../../generated/prisma/client.ts';
import type { Executor } from '../../postgres/database.ts';
import type { SourceSession } from '../source.ts';
import type { FieldHashes } from './field-merge.ts';

/** Names among the stored hashes that are not fields of the session. */
export const RESERVED = {
  /** Hash of everything the source says about the session, except its records. */
  source: '$source',
  /** The reader's position after the records read so far, and 1 if the records were ever rewritten: `<position>:<0 or 1>`. */
  records: '$transcript',
  /** See imported-usage.ts. */
  usage: '$usage',
  /** Present if an import superseded the session. */
  superseded: '$superseded',
  /** Hash of a last record that the source was still writing. */
  unfinished: '$unfinished',
} as const;

/** What the last import of a session stored. */
export interface LastImport {
  /** Why the session must not be imported; null if it may be. */
  readonly refusal: string | null;
  /** Empty if the session was never imported. */
  readonly hashes: FieldHashes;
  /** Where to continue reading; null if no records were read yet. */
  readonly position: string | null;
  /** True if the records were ever found rewritten: the stored records are then in another order than the source's. */
  readonly rewritten: boolean;
}

/** Reads what the last import of a session stored, and whether the session may be imported at all. */
export async function readLastImport(transaction: Executor, { id, ownerAgentId, agentId }: SourceSession): Promise<LastImport> {
  const [row] = await transaction.rows<{ hashes: FieldHashes | null; foreign: boolean | null; trashed: boolean; removed: boolean }>(
    Prisma.sql`
      select (select i.field_hashes from aria_engine.import_sources i join aria_engine.chat_sessions s on s.id = i.session_id
          where i.session_id = ${id}::uuid) as hashes,
        (select coalesce(i.agent_id <> ${ownerAgentId}, s.agent_id <> ${agentId}) from aria_engine.chat_sessions s
          left join aria_engine.import_sources i on i.session_id = s.id where s.id = ${id}::uuid) as "foreign",
        exists(select from aria_engine.chat_sessions where id = ${id}::uuid and deleted_at is not null) as trashed,
        exists(select from aria_engine.session_tombstones where session_id = ${id}::uuid) as removed`,
  );
  const hashes = row?.hashes ?? {};
  const { removed = false, trashed = false, foreign = false } = row ?? {};
  const refusal = removed
    ? 'permanently deleted in Sessiongraph'
    : trashed
      ? 'in the trash of Sessiongraph'
      : foreign
        ? 'a session of another agent has the same id'
        : null;
  return { refusal, hashes, ...parseRecordsEntry(hashes[RESERVED.records]) };
}

/** The text to store under RESERVED.records. */
export function recordsEntry(position: string, rewritten: boolean): string {
  return `${position}:${rewritten ? 1 : 0}`;
}

function parseRecordsEntry(entry: string | undefined): Pick<LastImport, 'position' | 'rewritten'> {
  if (entry === undefined) return { position: null, rewritten: false };
  const end = entry.lastIndexOf(':');
  return { position: entry.slice(0, end), rewritten: entry.slice(end + 1) === '1' };
}

/** The stored hashes of a session, which the caller has locked; null if it does not come from this system. */
export async function readHashes(transaction: Executor, sessionId: string, system: string): Promise<FieldHashes | null> {
  const [row] = await transaction.rows<{ hashes: FieldHashes }>(Prisma.sql`
    select field_hashes as hashes from aria_engine.import_sources where session_id = ${sessionId}::uuid and system = ${system}`);
  return row?.hashes ?? null;
}

/** Replaces the stored hashes of a session that was imported before, and that the caller has locked. */
export async function updateHashes(transaction: Executor, sessionId: string, hashes: FieldHashes): Promise<void> {
  await transaction.rows(Prisma.sql`
    update aria_engine.import_sources set field_hashes = ${JSON.stringify(hashes)}::jsonb, imported_at = current_timestamp
    where session_id = ${sessionId}::uuid`);
}

/** Stores the source and the hashes of a session that the caller has locked. */
export async function saveImport(
  transaction: Executor,
  { id, system, ownerAgentId, externalId }: SourceSession,
  hashes: FieldHashes,
): Promise<void> {
  await transaction.rows(Prisma.sql`
    insert into aria_engine.import_sources (session_id, system, agent_id, external_id, field_hashes)
    values (${id}::uuid, ${system}, ${ownerAgentId}, ${externalId}, ${JSON.stringify(hashes)}::jsonb)
    on conflict (session_id) do update set field_hashes = excluded.field_hashes, imported_at = current_timestamp`);
}
