import type { ClientBase } from 'pg';
import type { SourceSession } from '../source.ts';
import type { FieldHashes } from './field-merge.ts';

/** Entries of the recorded hashes that are no field of the session. */
export const RECORD = {
  /** Hash of all the source says of the session besides its transcript. */
  source: '$source',
  /** How many lines were read, their hash, and whether the transcript was ever found rewritten. */
  transcript: '$transcript',
  usage: '$usage',
  /** The import has made the session history. */
  superseded: '$superseded',
  /** Hash of a last line whose writer may still be at it. */
  unfinished: '$unfinished',
} as const;

/** What there was at the last import of a session. */
export interface KnownImport {
  /** Why it must not be imported, if so. */
  readonly refusal: string | null;
  readonly hashes: FieldHashes;
  readonly transcript: { readonly lines: number; readonly digest: string; readonly rewritten: boolean };
}

/** SHA-256 of no lines at all. */
const EMPTY_DIGEST = '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU';

/** Reads what the last import of a session has recorded, and whether it may be imported at all. */
export async function readKnownImport(client: ClientBase, { id, ownerAgentId, agentId }: SourceSession): Promise<KnownImport> {
  const { rows } = await client.query<{ hashes: FieldHashes | null; foreign: boolean | null; trashed: boolean; gone: boolean }>(
    `select (select i.field_hashes from aria_engine.import_sources i join aria_engine.chat_sessions s on s.id = i.session_id
         where i.session_id = $1) as hashes,
       (select coalesce(i.agent_id <> $2, s.agent_id <> $3) from aria_engine.chat_sessions s
         left join aria_engine.import_sources i on i.session_id = s.id where s.id = $1) as "foreign",
       exists(select from aria_engine.chat_sessions where id = $1 and deleted_at is not null) as trashed,
       exists(select from aria_engine.session_tombstones where session_id = $1) as gone`,
    [id, ownerAgentId, agentId],
  );
  const hashes = rows[0]?.hashes ?? {};
  const [lines = '0', digest, rewritten] = hashes[RECORD.transcript]?.split(':') ?? [];
  const { gone = false, trashed = false, foreign = false } = rows[0] ?? {};
  return {
    refusal: gone
      ? 'removed for good here'
      : trashed
        ? 'in the trash here'
        : foreign
          ? 'its id is that of a session of another agent'
          : null,
    hashes,
    transcript: { lines: Number(lines), digest: digest ?? EMPTY_DIGEST, rewritten: rewritten === '1' },
  };
}

/** The hashes recorded of a session under its lock; null where it did not come from this system. */
export async function readRecord(client: ClientBase, sessionId: string, system: string): Promise<FieldHashes | null> {
  const { rows } = await client.query<{ hashes: FieldHashes }>(
    'select field_hashes as hashes from aria_engine.import_sources where session_id = $1 and system = $2',
    [sessionId, system],
  );
  return rows[0]?.hashes ?? null;
}

/** Replaces the hashes recorded of a session under its lock. */
export async function updateRecord(client: ClientBase, sessionId: string, hashes: FieldHashes): Promise<void> {
  await client.query(
    'update aria_engine.import_sources set field_hashes = $2::jsonb, imported_at = current_timestamp where session_id = $1',
    [sessionId, JSON.stringify(hashes)],
  );
}

/** Records an import of a session under its lock, the first or a further one. */
export async function saveRecord(
  client: ClientBase,
  { id, system, ownerAgentId, externalId }: SourceSession,
  hashes: FieldHashes,
): Promise<void> {
  await client.query(
    `insert into aria_engine.import_sources (session_id, system, agent_id, external_id, field_hashes) values ($1, $2, $3, $4, $5::jsonb)
     on conflict (session_id) do update set field_hashes = excluded.field_hashes, imported_at = current_timestamp`,
    [id, system, ownerAgentId, externalId, JSON.stringify(hashes)],
  );
}
