import { builder } from '../../graphql/builder.ts';
import type { SessionPriority, SessionStatus } from '../session/session.rules.ts';
import type { SessionKind } from '../session-key/session-key.rules.ts';
import type { DateTimeRange, SessionFilter, SessionOrder, SetFilter, StringFilter } from './session-filter.rules.ts';

export const SessionStatusEnum = builder.enumType('SessionStatus', {
  description: 'The status of a session. Open: SPAWNING, ACTIVE, WORKING, STALLED. Terminal: COMPLETED, FAILED, TERMINATED, ENDED.',
  values: {
    SPAWNING: { description: 'The agent is starting.' },
    ACTIVE: { description: 'Waiting for a person. Never becomes STALLED.' },
    WORKING: { description: 'The agent is working.' },
    STALLED: { description: 'The agent was working, but has shown no activity for too long.' },
    COMPLETED: { description: 'The work is done. Can be reopened.' },
    FAILED: { description: 'The work failed. See `statusReason`.' },
    TERMINATED: { description: 'Killed.' },
    ENDED: { description: 'Closed. Can be reopened.' },
  } satisfies Record<SessionStatus, object>,
});

export const SessionKindEnum = builder.enumType('SessionKind', {
  description: 'The kind of a session, derived from its key and chat type.',
  values: {
    MAIN: { description: 'The main session of an agent.' },
    DIRECT: { description: 'A session with any other key.' },
    GROUP: { description: 'A group or channel.' },
    GLOBAL: { description: 'The key `global`.' },
    UNKNOWN: { description: 'The key `unknown`.' },
    CRON: { description: 'A scheduled job.' },
    SUBAGENT: { description: 'A sub-agent of another session.' },
    HOOK: { description: 'A webhook.' },
    NODE: { description: 'A paired device.' },
    OTHER: { description: 'A session without a key.' },
  } satisfies Record<SessionKind, object>,
});

export const SessionPriorityEnum = builder.enumType('SessionPriority', {
  description: 'The priority of a session, from lowest to highest.',
  values: { LOW: {}, NORMAL: {}, HIGH: {}, CRITICAL: {} } satisfies Record<SessionPriority, object>,
});

const OrderDirection = builder.enumType('OrderDirection', {
  description: 'Ascending or descending.',
  values: ['ASC', 'DESC'] as const,
});

const SessionOrderFieldEnum = builder.enumType('SessionOrderField', {
  description: 'The value to order sessions by.',
  values: {
    CREATED_AT: {},
    STARTED_AT: {},
    UPDATED_AT: {},
    LAST_ACTIVITY_AT: {},
    ENDED_AT: { description: 'A session that has not ended sorts after all others.' },
    TITLE: { description: 'In the order of Unicode, for all languages.' },
    MESSAGE_COUNT: {},
    TOTAL_TOKENS: {},
    PRIORITY: {},
  },
});

export const SessionOrderInput = builder.inputRef<SessionOrder>('SessionOrder').implement({
  description: 'One term of an order. An order has at most three terms; sessions with equal values are ordered by id.',
  fields: t => ({
    field: t.field({ type: SessionOrderFieldEnum, required: true }),
    direction: t.field({ type: OrderDirection, defaultValue: 'DESC' }),
  }),
});

const IdFilterInput = builder.inputRef<SetFilter<string>>('IdFilter').implement({
  description: 'Matches a session by its global id or UUID. A malformed id matches no session.',
  fields: t => ({ eq: t.id(), in: t.idList(), notIn: t.idList() }),
});

const StringFilterInput = builder.inputRef<StringFilter>('StringFilter').implement({
  description: 'Matches a text. Operators are joined by AND. An operator that is null counts as left out.',
  fields: t => ({
    eq: t.string({ description: 'Equals this text.' }),
    in: t.stringList({ description: 'Equals one of these texts.' }),
    notIn: t.stringList({ description: 'Equals none of these texts. An unset text matches.' }),
    contains: t.string({ description: 'Contains these characters, in any case.' }),
    startsWith: t.string({ description: 'Starts with exactly this text.' }),
    isNull: t.boolean({ description: 'True: the text is unset. False: it is set.' }),
  }),
});

const StatusFilterInput = builder.inputRef<SetFilter<SessionStatus>>('StatusFilter').implement({
  fields: t => ({
    eq: t.field({ type: SessionStatusEnum }),
    in: t.field({ type: [SessionStatusEnum] }),
    notIn: t.field({ type: [SessionStatusEnum] }),
  }),
});

const KindFilterInput = builder.inputRef<SetFilter<SessionKind>>('KindFilter').implement({
  fields: t => ({
    eq: t.field({ type: SessionKindEnum }),
    in: t.field({ type: [SessionKindEnum] }),
    notIn: t.field({ type: [SessionKindEnum] }),
  }),
});

const PriorityFilterInput = builder.inputRef<SetFilter<SessionPriority>>('PriorityFilter').implement({
  fields: t => ({
    eq: t.field({ type: SessionPriorityEnum }),
    in: t.field({ type: [SessionPriorityEnum] }),
    notIn: t.field({ type: [SessionPriorityEnum] }),
  }),
});

export const DateTimeRangeInput = builder.inputRef<DateTimeRange>('DateTimeRange').implement({
  description: 'Matches a time t with from <= t < before. An unset time matches no range.',
  fields: t => ({ from: t.field({ type: 'DateTime' }), before: t.field({ type: 'DateTime' }) }),
});

const SessionFilterRef = builder.inputRef<SessionFilter>('SessionFilter');

export const SessionFilterInput = SessionFilterRef.implement({
  description:
    'Selects sessions. Fields are joined by AND. A field that is null counts as left out. Without `trashed` at the top level, sessions in the ' +
    'trash do not match; without `superseded` at the top level, superseded sessions do not match. In nested filters, both apply only if given. ' +
    'Archived sessions and cron runs match unless filtered out.',
  fields: t => ({
    and: t.field({
      type: [SessionFilterRef],
      description: 'Matches sessions that match all of these filters. An empty list matches every session.',
    }),
    or: t.field({
      type: [SessionFilterRef],
      description: 'Matches sessions that match at least one of these filters. An empty list matches no session.',
    }),
    not: t.field({
      type: SessionFilterRef,
      description: 'Matches sessions for which the nested filter is false. An unset field counts as not matching.',
    }),
    id: t.field({ type: IdFilterInput }),
    key: t.field({ type: StringFilterInput }),
    kind: t.field({ type: KindFilterInput }),
    agentId: t.field({ type: StringFilterInput }),
    type: t.field({ type: StringFilterInput }),
    status: t.field({ type: StatusFilterInput }),
    label: t.field({ type: StringFilterInput }),
    title: t.field({ type: StringFilterInput, description: 'The title that is shown, given or derived.' }),
    externalId: t.field({ type: StringFilterInput }),
    category: t.field({ type: StringFilterInput }),
    channel: t.field({ type: StringFilterInput }),
    nodeId: t.field({ type: StringFilterInput }),
    workspace: t.field({ type: StringFilterInput }),
    priority: t.field({ type: PriorityFilterInput }),
    model: t.field({ type: StringFilterInput }),
    tags: t.stringList({ description: 'Has all of these tags.' }),
    parentId: t.id({ description: 'Is a child of this session. Global id or UUID.' }),
    root: t.boolean({ description: 'True: has no parent. False: has a parent.' }),
    metadata: t.field({ type: 'JSON', description: 'Metadata contains this JSON object (Postgres `@>`).' }),
    search: t.string({
      description: 'The title, label, display name, subject, key, agent id, task or any message contains these characters, in any case.',
    }),
    activeWithinMinutes: t.int({ description: 'Had activity within this number of minutes.' }),
    createdAt: t.field({ type: DateTimeRangeInput }),
    startedAt: t.field({ type: DateTimeRangeInput }),
    updatedAt: t.field({ type: DateTimeRangeInput }),
    lastActivityAt: t.field({ type: DateTimeRangeInput }),
    endedAt: t.field({ type: DateTimeRangeInput }),
    archived: t.boolean({ description: 'Is archived.' }),
    pinned: t.boolean({ description: 'Is pinned.' }),
    superseded: t.boolean({ description: 'A reset or respawn has replaced the session by another one.' }),
    trashed: t.boolean({ description: 'Is in the trash.' }),
    empty: t.boolean({ description: 'True: has no messages. False: has messages.' }),
  }),
});
