import { NULLABLE_TEXTS, type StoredSession } from './stored-session.ts';

interface SetInput {
  readonly eq?: string | null;
  readonly in?: readonly string[] | null;
  readonly notIn?: readonly string[] | null;
}

interface StringInput extends SetInput {
  readonly contains?: string | null;
  readonly startsWith?: string | null;
  readonly isNull?: boolean | null;
}

interface RangeInput {
  readonly from?: string | null;
  readonly before?: string | null;
}

/** The names of the text fields. */
export const TEXT_FIELDS = ['agentId', 'type', 'title', ...NULLABLE_TEXTS] as const satisfies readonly (keyof StoredSession)[];

type TextFilters = { readonly [Field in (typeof TEXT_FIELDS)[number]]?: StringInput | null };

/** The input type SessionFilter. */
export interface FilterInput extends TextFilters {
  readonly and?: readonly FilterInput[] | null;
  readonly or?: readonly FilterInput[] | null;
  readonly not?: FilterInput | null;
  readonly id?: SetInput | null;
  readonly kind?: SetInput | null;
  readonly status?: SetInput | null;
  readonly priority?: SetInput | null;
  readonly tags?: readonly string[] | null;
  readonly parentId?: string | null;
  readonly root?: boolean | null;
  readonly metadata?: Readonly<Record<string, unknown>> | null;
  readonly search?: string | null;
  readonly activeWithinMinutes?: number | null;
  readonly createdAt?: RangeInput | null;
  readonly startedAt?: RangeInput | null;
  readonly updatedAt?: RangeInput | null;
  readonly lastActivityAt?: RangeInput | null;
  readonly endedAt?: RangeInput | null;
  readonly archived?: boolean | null;
  readonly pinned?: boolean | null;
  readonly superseded?: boolean | null;
  readonly trashed?: boolean | null;
  readonly empty?: boolean | null;
}

/** The names of the time fields. */
export const TIME_FIELDS = [
  'createdAt',
  'startedAt',
  'updatedAt',
  'lastActivityAt',
  'endedAt',
] as const satisfies readonly (keyof FilterInput & keyof StoredSession)[];

/** Reference implementation of SessionFilter: returns the sessions that the contract requires in a list with the filter. */
export function selectSessions(sessions: readonly StoredSession[], filter: FilterInput, now = new Date()): readonly StoredSession[] {
  return sessions.filter(
    session =>
      (filter.trashed != null || session.deletedAt === null) &&
      (filter.superseded != null || session.supersededAt === null) &&
      matches(session, filter, now),
  );
}

function matches(session: StoredSession, filter: FilterInput, now: Date): boolean {
  const isOrUnset = (expected: boolean | null | undefined, actual: boolean) => expected == null || expected === actual;
  return (
    (filter.and == null || filter.and.every(part => matches(session, part, now))) &&
    (filter.or == null || filter.or.some(part => matches(session, part, now))) &&
    (filter.not == null || !matches(session, filter.not, now)) &&
    matchesSet(session.id, filter.id, bareId) &&
    matchesSet(session.kind, filter.kind) &&
    matchesSet(session.status, filter.status) &&
    matchesSet(session.priority, filter.priority) &&
    TEXT_FIELDS.every(field => matchesText(session[field] ?? null, filter[field])) &&
    TIME_FIELDS.every(field => matchesRange(session[field], filter[field])) &&
    (filter.tags == null || filter.tags.every(tag => session.tags.includes(tag))) &&
    (filter.parentId == null || (session.parentId !== null && bareId(filter.parentId) === session.parentId)) &&
    isOrUnset(filter.root, session.parentId === null) &&
    (filter.metadata == null || containsJson(session.metadata, filter.metadata)) &&
    (filter.search == null || isFound(session, filter.search)) &&
    (filter.activeWithinMinutes == null || session.lastActivityAt.getTime() >= now.getTime() - filter.activeWithinMinutes * 60_000) &&
    isOrUnset(filter.archived, session.archivedAt !== null) &&
    isOrUnset(filter.pinned, session.pinnedAt !== null) &&
    isOrUnset(filter.superseded, session.supersededAt !== null) &&
    isOrUnset(filter.trashed, session.deletedAt !== null) &&
    isOrUnset(filter.empty, session.messages.length === 0)
  );
}

/** Returns the UUID of a global or bare session id; null if it is malformed. */
function bareId(id: string): string | null {
  const decoded = /^Session:(.*)$/.exec(Buffer.from(id, 'base64').toString())?.[1] ?? id;
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(decoded) ? decoded.toLowerCase() : null;
}

function matchesSet(
  value: string | null,
  filter: SetInput | null | undefined,
  read: (wanted: string) => string | null = text => text,
): boolean {
  if (filter == null) return true;
  const isIn = (list: readonly string[]) => value !== null && list.some(wanted => read(wanted) === value);
  return (
    (filter.eq == null || isIn([filter.eq])) && (filter.in == null || isIn(filter.in)) && (filter.notIn == null || !isIn(filter.notIn))
  );
}

function matchesText(value: string | null, filter: StringInput | null | undefined): boolean {
  if (filter == null) return true;
  return (
    matchesSet(value, filter) &&
    (filter.contains == null || containsText(value, filter.contains)) &&
    (filter.startsWith == null || value?.startsWith(filter.startsWith) === true) &&
    (filter.isNull == null || filter.isNull === (value === null))
  );
}

function matchesRange(value: Date | null, range: RangeInput | null | undefined): boolean {
  if (range == null) return true;
  const given = [range.from, range.before].filter(bound => bound != null);
  if (value === null) return given.length === 0;
  return (range.from == null || value >= new Date(range.from)) && (range.before == null || value < new Date(range.before));
}

function containsText(value: string | null | undefined, term: string): boolean {
  return value?.toLowerCase().includes(term.toLowerCase()) === true;
}

function isFound(session: StoredSession, term: string): boolean {
  const { title, label, displayName, subject, key, agentId, task, messages } = session;
  return [title, label, displayName, subject, key, agentId, task, ...messages].some(text => containsText(text ?? null, term));
}

/** The operator `@>` of Postgres for JSON objects. */
function containsJson(whole: unknown, part: unknown): boolean {
  if (Array.isArray(part)) return Array.isArray(whole) && part.every(item => whole.some(candidate => containsJson(candidate, item)));
  if (isObject(part)) {
    return isObject(whole) && Object.entries(part).every(([key, item]) => Object.hasOwn(whole, key) && containsJson(whole[key], item));
  }
  return whole === part;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
