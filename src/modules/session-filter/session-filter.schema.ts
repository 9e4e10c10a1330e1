import { builder } from '../../graphql/builder.ts';
import type { SessionPriority, SessionStatus } from '../session/session.rules.ts';
import type { SessionKind } from '../session-key/session-key.rules.ts';
import type { DateTimeRange, SessionFilter, SessionOrder, SetFilter, StringFilter } from './session-filter.rules.ts';

export const SessionStatusEnum = builder.enumType('SessionStatus', {
  description: 'Where a session stands. Open: SPAWNING, ACTIVE, WORKING, STALLED. Terminal: COMPLETED, FAILED, TERMINATED, ENDED.',
  values: {
    SPAWNING: { description: 'Being started.' },
    ACTIVE: { description: 'Open, waiting for a person; it never stalls.' },
    WORKING: { description: 'The agent is at work.' },
    STALLED: { description: 'At work, but silent for too long.' },
    COMPLETED: { description: 'Done. May be reopened.' },
    FAILED: { description: 'Given up; see `statusReason`.' },
    TERMINATED: { description: 'Killed.' },
    ENDED: { description: 'Closed. May be reopened.' },
  } satisfies Record<SessionStatus, object>,
});

export const SessionKindEnum = builder.enumType('SessionKind', {
  description: 'What a session is, told from its key and chat type.',
  values: {
    MAIN: { description: "An agent's main session." },
    DIRECT: { description: 'Any other key.' },
    GROUP: { description: 'A group or a channel.' },
    GLOBAL: { description: 'The key `global`.' },
    UNKNOWN: { description: 'The key `unknown`.' },
    CRON: { description: 'A scheduled job.' },
    SUBAGENT: { description: 'A sub-agent of another session.' },
    HOOK: { description: 'A webhook.' },
    NODE: { description: 'A paired device.' },
    OTHER: { description: 'It has no key.' },
  } satisfies Record<SessionKind, object>,
});

export const SessionPriorityEnum = builder.enumType('SessionPriority', {
  description: 'How urgent a session is, in rising order.',
  values: { LOW: {}, NORMAL: {}, HIGH: {}, CRITICAL: {} } satisfies Record<SessionPriority, object>,
});

const OrderDirection = builder.enumType('OrderDirection', {
  description: 'Rising or falling.',
  values: ['ASC', 'DESC'] as const,
});

const SessionOrderFieldEnum = builder.enumType('SessionOrderField', {
  description: 'What sessions can be ordered by.',
  values: {
    CREATED_AT: {},
    STARTED_AT: {},
    UPDATED_AT: {},
    LAST_ACTIVITY_AT: {},
    ENDED_AT: { description: 'Sessions that have not ended sort as the latest.' },
    TITLE: { description: 'By the rules of Unicode, whatever the language.' },
    MESSAGE_COUNT: {},
    TOTAL_TOKENS: {},
    PRIORITY: {},
  },
});

export const SessionOrderInput = builder.inputRef<SessionOrder>('SessionOrder').implement({
  description: 'One term of an order; at most three, the id deciding between equals.',
  fields: t => ({
    field: t.field({ type: SessionOrderFieldEnum, required: true }),
    direction: t.field({ type: OrderDirection, defaultValue: 'DESC' }),
  }),
});

const IdFilterInput = builder.inputRef<SetFilter<string>>('IdFilter').implement({
  description: 'By id, global or bare. A malformed id matches nothing.',
  fields: t => ({ eq: t.id(), in: t.idList(), notIn: t.idList() }),
});

const StringFilterInput = builder.inputRef<StringFilter>('StringFilter').implement({
  description: 'By a text. Operators are joined by AND; one that is null counts as left out.',
  fields: t => ({
    eq: t.string({ description: 'Exactly this.' }),
    in: t.stringList({ description: 'Exactly one of these.' }),
    notIn: t.stringList({ description: 'None of these; no text at all matches too.' }),
    contains: t.string({ description: 'These characters anywhere, in any case.' }),
    startsWith: t.string({ description: 'Begins with exactly this.' }),
    isNull: t.boolean({ description: 'Whether there is none.' }),
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
  description: 'A half-open span: from <= t < before. No instant at all never matches.',
  fields: t => ({ from: t.field({ type: 'DateTime' }), before: t.field({ type: 'DateTime' }) }),
});

const SessionFilterRef = builder.inputRef<SessionFilter>('SessionFilter');

export const SessionFilterInput = SessionFilterRef.implement({
  description:
    'Which sessions. Fields are joined by AND; one that is null counts as left out. Where `trashed` (or `superseded`) is absent at the top level, ' +
    'sessions in the trash (or superseded) are left out; nested, either constrains only where given. Archived ones and cron runs are listed unless filtered.',
  fields: t => ({
    and: t.field({ type: [SessionFilterRef], description: 'All of these; an empty list matches everything.' }),
    or: t.field({ type: [SessionFilterRef], description: 'Any of these; an empty list matches nothing.' }),
    not: t.field({ type: SessionFilterRef, description: 'All that this does not match, unset fields included.' }),
    id: t.field({ type: IdFilterInput }),
    key: t.field({ type: StringFilterInput }),
    kind: t.field({ type: KindFilterInput }),
    agentId: t.field({ type: StringFilterInput }),
    type: t.field({ type: StringFilterInput }),
    status: t.field({ type: StatusFilterInput }),
    label: t.field({ type: StringFilterInput }),
    title: t.field({ type: StringFilterInput, description: 'By the title that is shown, given or not.' }),
    externalId: t.field({ type: StringFilterInput }),
    category: t.field({ type: StringFilterInput }),
    channel: t.field({ type: StringFilterInput }),
    nodeId: t.field({ type: StringFilterInput }),
    priority: t.field({ type: PriorityFilterInput }),
    model: t.field({ type: StringFilterInput }),
    tags: t.stringList({ description: 'All of these tags.' }),
    parentId: t.id({ description: 'The children of this session.' }),
    root: t.boolean({ description: 'True: only roots. False: only children.' }),
    metadata: t.field({ type: 'JSON', description: 'Metadata contains this JSON object (Postgres `@>`).' }),
    search: t.string({
      description: 'In the title, label, display name, subject, key, agent id, task or any message: these characters, in any case.',
    }),
    activeWithinMinutes: t.int({ description: 'Activity within this many minutes.' }),
    createdAt: t.field({ type: DateTimeRangeInput }),
    startedAt: t.field({ type: DateTimeRangeInput }),
    updatedAt: t.field({ type: DateTimeRangeInput }),
    lastActivityAt: t.field({ type: DateTimeRangeInput }),
    endedAt: t.field({ type: DateTimeRangeInput }),
    archived: t.boolean(),
    pinned: t.boolean(),
    superseded: t.boolean({ description: 'Whether a reset or a respawn put another session in its place.' }),
    trashed: t.boolean({ description: 'Whether it lies in the trash.' }),
    empty: t.boolean({ description: 'True: without messages. False: with some.' }),
  }),
});
