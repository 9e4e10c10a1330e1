import { v7 as uuidv7 } from 'uuid';
import { badInput, DomainError, sessionNotFound } from '../../errors.ts';
import { insertEvents } from '../../events/event-write.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseSessionId } from '../../global-id.ts';
import { insertLists } from '../../postgres/columns/column-sql.ts';
import type { Sql } from '../../postgres/database.ts';
import type { Caller } from '../caller.ts';
import { executeOnce } from '../idempotency/idempotency.service.ts';
import { SESSION_COLUMNS } from '../session/session.columns.ts';
import { chatTypeOf, effectiveTitle, type SessionStatus } from '../session/session.rules.ts';
import { sessionKind } from '../session-key/session-key.rules.ts';
import { assertStorable, readMetadata } from '../text/text.input.ts';
import { maySeeAgent } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import { readDescription, withInitialValues } from './session-description.input.ts';
import { type CreateSessionInput, readIdentity, readType, type SessionIdentity } from './session-mutation.input.ts';
import { nameTaken, type SessionNames, toNameTaken } from './session-names.service.ts';

const FIRST_STATUSES: readonly SessionStatus[] = ['SPAWNING', 'ACTIVE', 'WORKING'];
/** Maximum number of attempts. An attempt fails if the session that holds the name gives it up between our two statements. */
const MAX_ATTEMPTS = 10;
const MAX_DURATION_MS = 10 * 365 * 86_400_000;
const LAST_INSTANT = Date.UTC(10_000, 0) - 1;

/** The session that a call created or found. */
interface CreatedSession {
  /** UUID. */
  readonly id: string;
  readonly created: boolean;
}

/**
 * Creates a session. If `ifExists` is RETURN and another session holds the key, it returns that session.
 * If the idempotency key was used before, it returns the session of that call.
 * @throws DomainError BAD_USER_INPUT, TITLE_TOO_LONG, INVALID_TOKEN_LIMIT, FORBIDDEN if the caller may not use the agent, SESSION_NOT_FOUND for the
 * parent, KEY_TAKEN, LABEL_TAKEN; as `executeOnce`
 */
export function createSession(caller: Caller, input: CreateSessionInput): Promise<CreatedSession> {
  return executeOnce(
    caller,
    {
      field: 'createSession',
      run: create,
      toStored: ({ id }) => ({ sessionId: id }),
      replay: (_caller, { sessionId }) => ({ id: sessionId, created: false }),
    },
    input,
  );
}

async function create(caller: Caller, input: CreateSessionInput): Promise<CreatedSession> {
  const { parentId: _parentId, ...storable } = input;
  assertStorable(storable, 'input');
  const identity = readIdentity(input, caller.settings, defaultAgent(caller));
  if (!maySeeAgent(caller.viewer, identity.agentId)) {
    throw new DomainError('FORBIDDEN', `This key may not create sessions of the agent ${identity.agentId}.`, { agentId: identity.agentId });
  }
  const id = uuidv7();
  const names = { key: identity.key, label: input.label?.trim() ?? null };
  const statement = insertSession(caller, input, identity, id);
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    const [written] = await caller.database.rows<{ id: string | null; parentTrashed: boolean | null }>(statement).catch(error => {
      throw toNameTaken(error, names, true);
    });
    if (written?.id != null) {
      caller.eventsWritten();
      return { id, created: true };
    }
    if (input.parentId != null && written?.parentTrashed !== false) throw sessionNotFound(input.parentId, written?.parentTrashed === true);
    const holder = await findHolder(caller, identity.agentId, names);
    if (holder?.hasKey === true) return { id: holder.id, created: false };
    if (holder !== null) throw nameTaken('LABEL_TAKEN', names, true);
    // The holder gave up the name between the two statements: try again.
  }
  throw nameTaken(names.key === null ? 'LABEL_TAKEN' : 'KEY_TAKEN', names, true);
}

function defaultAgent(caller: Caller): string {
  const [only, ...others] = caller.viewer.agentIds ?? [];
  return only !== undefined && others.length === 0 ? only : caller.settings.defaultAgent;
}

/** The session that holds the key, else the session that holds the label; null if both are free. */
async function findHolder(
  caller: Caller,
  agentId: string,
  names: SessionNames,
): Promise<{ readonly id: string; readonly hasKey: boolean } | null> {
  const [holder] = await caller.database.rows<{ id: string; hasKey: boolean }>(Prisma.sql`
    select id, coalesce(key = ${names.key}::text, false) as "hasKey" from aria_engine.chat_sessions
    where agent_id = ${agentId} and (key = ${names.key}::text or label = ${names.label}::text) and deleted_at is null and superseded_at is null
    order by 2 desc limit 1`);
  return holder ?? null;
}

/**
 * Inserts nothing if the key or the label is taken. An error would fail the transaction that this statement may be part of.
 * It covers both names: of two calls with the same key and label, the second may first conflict on the label, but must find the session by its key.
 */
const UNLESS_A_NAME_IS_TAKEN = Prisma.sql`on conflict do nothing`;

function insertSession(caller: Caller, input: CreateSessionInput, { agentId, key }: SessionIdentity, id: string): Sql {
  const description = withInitialValues(readDescription(input, caller.settings));
  const status = input.status ?? 'ACTIVE';
  if (!FIRST_STATUSES.includes(status)) throw badInput('input.status', `must be one of ${FIRST_STATUSES.join(', ')} for a new session`);
  const duration = readDuration(input);
  const parentId = input.parentId == null ? null : parseSessionId(input.parentId);
  if (input.parentId != null && parentId === null) throw sessionNotFound(input.parentId);
  const { givenTitle = null, displayName = null, subject = null, origin } = description;
  const row = insertLists(SESSION_COLUMNS, {
    ...description,
    id,
    agentId,
    key,
    kind: sessionKind(key, chatTypeOf(origin), caller.settings),
    type: readType(input.type),
    status,
    title: effectiveTitle({ id, givenTitle, displayName, subject, derivedTitle: null }),
    metadata: readMetadata(input.metadata, 'input.metadata'),
    parentId,
    expectedDurationMs: duration,
  });
  const startedAt = Prisma.sql`coalesce(${input.startedAt?.toISOString() ?? null}::timestamptz, now())`;
  return Prisma.sql`
    with parent as materialized (
      select p.deleted_at is not null as trashed from aria_engine.chat_sessions p
      where p.id = ${parentId}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`p.agent_id`)} for key share
    ), session as (
      insert into aria_engine.chat_sessions (${row.names}, started_at, expected_completion_at)
      select ${row.values}, ${startedAt}, ${startedAt} + ${duration}::bigint * interval '1 millisecond'
      where ${parentId}::uuid is null or exists (select from parent where not trashed)
      ${input.ifExists === 'RETURN' ? UNLESS_A_NAME_IS_TAKEN : Prisma.empty}
      returning id, agent_id
    ), activity as (
      insert into aria_engine.chat_session_activity (session_id, agent_id) select id, agent_id from session
    ), event as (
      ${insertEvents(id, agentId, [{ type: 'CREATED', payload: parentId === null ? {} : { parentId } }], Prisma.sql`exists (select from session)`)}
    )
    select (select id from session) as id, (select trashed from parent) as "parentTrashed"`;
}

function readDuration({ expectedDurationMs: duration, startedAt }: CreateSessionInput): number | null {
  if (duration == null) return null;
  if (duration < 1 || duration > MAX_DURATION_MS) throw badInput('input.expectedDurationMs', `must be from 1 to ${MAX_DURATION_MS}`);
  if ((startedAt?.getTime() ?? Date.now()) + duration > LAST_INSTANT) {
    throw badInput('input.expectedDurationMs', 'must end before the year 10000');
  }
  return duration;
}
