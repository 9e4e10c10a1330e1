import { v7 as uuidv7 } from 'uuid';
import { badInput, DomainError, sessionNotFound } from '../../errors.ts';
import { insertEvents } from '../../events/event-write.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseSessionId } from '../../global-id.ts';
import type { Sql } from '../../postgres/database.ts';
import type { Caller } from '../caller.ts';
import { makeOnce } from '../idempotency/idempotency.service.ts';
import { sessionKind } from '../session-key/session-key.rules.ts';
import { assertStorable, readMetadata } from '../text/text.input.ts';
import { maySeeAgent } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import { type CreateSessionInput, readDescription, readIdentity, readType, type SessionIdentity } from './session.input.ts';
import { effectiveTitle, type SessionStatus } from './session.rules.ts';
import { nameTaken, type SessionNames, takenOr } from './session-names.service.ts';

const FIRST_STATUSES: readonly SessionStatus[] = ['SPAWNING', 'ACTIVE', 'WORKING'];
/** How often a name may be taken and let go again between our two looks at it. */
const MAX_ATTEMPTS = 10;
const MAX_DURATION_MS = 10 * 365 * 86_400_000;
const LAST_INSTANT = Date.UTC(10_000, 0) - 1;

/** A session that was created, or found. */
interface CreatedSession {
  /** UUID. */
  readonly id: string;
  readonly created: boolean;
}

/**
 * Creates a session, or finds the one that holds its key where `ifExists` is RETURN, or the one of the same idempotency key.
 * @throws DomainError BAD_USER_INPUT, TITLE_TOO_LONG, INVALID_TOKEN_LIMIT, FORBIDDEN for a foreign agent, SESSION_NOT_FOUND for the parent,
 * KEY_TAKEN, LABEL_TAKEN; as `makeOnce`
 */
export function createSession(caller: Caller, input: CreateSessionInput): Promise<CreatedSession> {
  return makeOnce(
    caller,
    {
      field: 'createSession',
      run: create,
      keep: ({ id }) => ({ sessionId: id }),
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
      throw takenOr(error, names);
    });
    if (written?.id != null) {
      caller.eventsWritten();
      return { id, created: true };
    }
    if (input.parentId != null && written?.parentTrashed !== false) throw sessionNotFound(input.parentId, written?.parentTrashed === true);
    const holder = await findHolder(caller, identity.agentId, names);
    if (holder?.hasKey === true) return { id: holder.id, created: false };
    if (holder !== null) throw nameTaken('LABEL_TAKEN', names);
    // None: it went away between the two statements, and the name is free again.
  }
  throw nameTaken(names.key === null ? 'LABEL_TAKEN' : 'KEY_TAKEN', names);
}

function defaultAgent(caller: Caller): string {
  const [only, ...others] = caller.viewer.agentIds ?? [];
  return only !== undefined && others.length === 0 ? only : caller.settings.defaultAgent;
}

/** The session that holds the key, else the one that holds the label; null where both are free. */
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
 * Rather than to fail, which would fail the whole transaction this may be part of. Of any name: two that both find the key free go on to
 * the label, and the one that comes second is to find the session of its key, not a label that is taken.
 */
const UNLESS_A_NAME_IS_TAKEN = Prisma.sql`on conflict do nothing`;

function insertSession(caller: Caller, input: CreateSessionInput, identity: SessionIdentity, id: string): Sql {
  const { given_title, display_name, subject, ...columns } = readDescription(input, caller.settings);
  const status = input.status ?? 'ACTIVE';
  if (!FIRST_STATUSES.includes(status)) throw badInput('input.status', `must be one of ${FIRST_STATUSES.join(', ')} for a new session`);
  const duration = input.expectedDurationMs ?? null;
  if (duration !== null && (duration < 1 || duration > MAX_DURATION_MS)) {
    throw badInput('input.expectedDurationMs', `must be from 1 to ${MAX_DURATION_MS}`);
  }
  if (duration !== null && (input.startedAt?.getTime() ?? Date.now()) + duration > LAST_INSTANT) {
    throw badInput('input.expectedDurationMs', 'must end before the year 10000');
  }
  const parentId = input.parentId == null ? null : parseSessionId(input.parentId);
  if (input.parentId != null && parentId === null) throw sessionNotFound(input.parentId);
  const titles = { givenTitle: given_title ?? null, displayName: display_name ?? null, subject: subject ?? null, derivedTitle: null };
  const json = (value: object | null | undefined) => (value == null ? null : JSON.stringify(value));
  const startedAt = input.startedAt?.toISOString() ?? null;
  return Prisma.sql`
    with parent as materialized (
      select p.deleted_at is not null as trashed from aria_engine.chat_sessions p
      where p.id = ${parentId}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`p.agent_id`)} for key share
    ), session as (
      insert into aria_engine.chat_sessions (id, agent_id, key, kind, type, status, title, given_title, label, display_name, subject, category, tags,
        channel, node_id, output_path, priority, task, prompt, token_limit, model, model_provider, origin, delivery, metadata, parent_id,
        expected_duration_ms, started_at, expected_completion_at)
      select ${id}::uuid, ${identity.agentId}, ${identity.key},
        ${sessionKind(identity.key, columns.origin?.chatType ?? null, caller.settings)}::aria_engine.session_kind, ${readType(input.type)},
        ${status}::aria_engine.session_status, ${effectiveTitle({ id, ...titles })}, ${titles.givenTitle}, ${columns.label ?? null},
        ${titles.displayName}, ${titles.subject}, ${columns.category ?? null}, ${[...(columns.tags ?? [])]}::text[], ${columns.channel ?? null},
        ${columns.node_id ?? null}, ${columns.output_path ?? null}, ${columns.priority ?? 'NORMAL'}::aria_engine.session_priority,
        ${columns.task ?? null}, ${columns.prompt ?? null}, ${columns.token_limit ?? null}::int, ${columns.model ?? null},
        ${columns.model_provider ?? null}, ${json(columns.origin)}::jsonb, ${json(columns.delivery)}::jsonb,
        ${JSON.stringify(readMetadata(input.metadata, 'input.metadata'))}::jsonb, ${parentId}::uuid, ${duration}::bigint,
        coalesce(${startedAt}::timestamptz, now()),
        coalesce(${startedAt}::timestamptz, now()) + ${duration}::bigint * interval '1 millisecond'
      where ${parentId}::uuid is null or exists (select from parent where not trashed)
      ${input.ifExists === 'RETURN' ? UNLESS_A_NAME_IS_TAKEN : Prisma.empty}
      returning id, agent_id
    ), activity as (
      insert into aria_engine.chat_session_activity (session_id, agent_id) select id, agent_id from session
    ), event as (
      ${insertEvents(id, identity.agentId, [{ type: 'CREATED', payload: parentId === null ? {} : { parentId } }], Prisma.sql`exists (select from session)`)}
    )
    select (select id from session) as id, (select trashed from parent) as "parentTrashed"`;
}
