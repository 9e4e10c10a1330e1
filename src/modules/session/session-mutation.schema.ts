import { sessionGlobalId } from '../../global-id.ts';
import { builder } from '../../graphql/builder.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import { IDEMPOTENCY_KEY } from '../idempotency/idempotency.input.ts';
import { SessionPriorityEnum, SessionStatusEnum } from '../session-filter/session-filter.schema.ts';
import type { CreateSessionInput, DeleteSessionInput, EndSessionInput, RestoreSessionInput, UpdateSessionInput } from './session.input.ts';
import { Session } from './session.schema.ts';
import { createSession } from './session-create.service.ts';
import type { DescriptionInput } from './session-description.input.ts';
import { deleteSession, restoreSession } from './session-trash.service.ts';
import { endSession, updateSession } from './session-update.service.ts';
import { type Written, writtenSession } from './written-session.schema.ts';

const IfExists = builder.enumType('IfExists', {
  description: 'What to do where another session holds the key.',
  values: { ERROR: { description: 'KEY_TAKEN.' }, RETURN: { description: 'Give that session, unchanged.' } },
});

const MetadataWrite = builder.enumType('MetadataWrite', {
  description: 'How metadata is written.',
  values: {
    MERGE: { description: 'Top-level keys are merged; a null value removes its key.' },
    REPLACE: { description: 'The whole object is replaced.' },
  },
});

const SessionOriginInput = builder.inputRef<NonNullable<DescriptionInput['origin']>>('SessionOriginInput').implement({
  fields: t => ({
    label: t.string(),
    provider: t.string(),
    surface: t.string(),
    chatType: t.string({ description: '`group` and `channel` make the session one of kind GROUP.' }),
    from: t.string(),
    to: t.string(),
    accountId: t.string(),
    threadId: t.string(),
  }),
});

const DeliveryContextInput = builder.inputRef<NonNullable<DescriptionInput['delivery']>>('DeliveryContextInput').implement({
  fields: t => ({ channel: t.string(), to: t.string(), accountId: t.string(), threadId: t.string() }),
});

const CreateSessionInputType = builder.inputRef<CreateSessionInput>('CreateSessionInput').implement({
  description: 'A new session. Every field may be left out.',
  fields: t => ({
    agentId: t.string({
      description:
        "Left out: the key's agent, else the agent the API key is bound to, else the server's default agent. Normalised like an agent id of a key; " +
        'one that disagrees with the key is BAD_USER_INPUT.',
    }),
    type: t.string({ defaultValue: 'chat', description: 'An open set; stored in lower case.' }),
    key: t.string({ description: 'Stored in canonical form: `agent:<agent>:<rest>`.' }),
    ifExists: t.field({ type: IfExists, defaultValue: 'ERROR' }),
    status: t.field({ type: SessionStatusEnum, defaultValue: 'ACTIVE', description: 'SPAWNING, ACTIVE or WORKING.' }),
    title: t.string({ description: 'At most 200 characters.' }),
    label: t.string({ description: '1 to 64 characters, unique per agent.' }),
    displayName: t.string({ description: 'What to show for it, such as the name of a group.' }),
    subject: t.string({ description: 'What a group or a thread says it is about.' }),
    category: t.string({ description: 'A grouping of your own, free text.' }),
    tags: t.stringList({ description: 'At most 50 of at most 64 characters.' }),
    channel: t.string({ description: 'Where it is talked in, such as telegram, slack or web.' }),
    nodeId: t.string({ description: 'The machine or device it runs on, as you name it.' }),
    outputPath: t.string({ description: 'Where the agent puts what it makes; nothing here reads or writes there.' }),
    priority: t.field({ type: SessionPriorityEnum, defaultValue: 'NORMAL' }),
    task: t.string({ description: 'What it works on, in a sentence.' }),
    prompt: t.string({ description: 'The full text it is started with.' }),
    tokenLimit: t.int({ description: 'The session fails at 95 % of it.' }),
    expectedDurationMs: t.field({
      type: 'SafeInt',
      description: 'How long the work should take from `startedAt` on: gives `expectedCompletionAt`.',
    }),
    parentId: t.id({ description: 'Global id or bare UUID.' }),
    model: t.string(),
    modelProvider: t.string(),
    origin: t.field({ type: SessionOriginInput, description: 'Where it was begun from.' }),
    delivery: t.field({ type: DeliveryContextInput, description: 'Where its answers go.' }),
    metadata: t.field({ type: 'JSON', description: 'A JSON object of at most 64 KiB.' }),
    startedAt: t.field({ type: 'DateTime', description: 'Now where left out.' }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY }),
  }),
});

const UpdateSessionInputType = builder.inputRef<UpdateSessionInput>('UpdateSessionInput').implement({
  description:
    'Three-state: a field left out is kept, null clears it, a value sets it. All or nothing. Null is BAD_USER_INPUT for status, priority, archived, ' +
    'pinned, metadataWrite and parentId, and empties tags and metadata.',
  fields: t => ({
    id: t.id({ required: true, description: 'Global id or bare UUID.' }),
    expectedVersion: t.int({ description: 'VERSION_CONFLICT where the session has another version by now.' }),
    status: t.field({
      type: SessionStatusEnum,
      description: 'Any open one but STALLED, COMPLETED, FAILED or ENDED. COMPLETED and ENDED sessions are reopened by ACTIVE.',
    }),
    statusReason: t.string(),
    title: t.string({ description: 'At most 200 characters. Null takes the given title back.' }),
    label: t.string({ description: '1 to 64 characters, unique per agent.' }),
    displayName: t.string({ description: 'What to show for it, such as the name of a group.' }),
    subject: t.string({ description: 'What a group or a thread says it is about.' }),
    category: t.string({ description: 'A grouping of your own, free text.' }),
    tags: t.stringList({ description: 'All of them: at most 50 of at most 64 characters.' }),
    channel: t.string({ description: 'Where it is talked in, such as telegram, slack or web.' }),
    nodeId: t.string({ description: 'The machine or device it runs on, as you name it.' }),
    outputPath: t.string({ description: 'Where the agent puts what it makes; nothing here reads or writes there.' }),
    priority: t.field({ type: SessionPriorityEnum }),
    task: t.string({ description: 'What it works on, in a sentence.' }),
    prompt: t.string({ description: 'The full text it is started with.' }),
    tokenLimit: t.int({ description: 'INVALID_TOKEN_LIMIT where 95 % of it are used already.' }),
    expectedCompletionAt: t.field({ type: 'DateTime', description: 'When the work should be done.' }),
    endedAt: t.field({
      type: 'DateTime',
      description: 'Only of a session that has ended after the change; of one that ends with it, null is now.',
    }),
    parentId: t.id({ description: 'Can be set once and never changed.' }),
    model: t.string(),
    modelProvider: t.string(),
    origin: t.field({ type: SessionOriginInput, description: 'Where it was begun from.' }),
    delivery: t.field({ type: DeliveryContextInput, description: 'Where its answers go.' }),
    metadata: t.field({ type: 'JSON', description: 'A JSON object; the result has at most 64 KiB.' }),
    metadataWrite: t.field({ type: MetadataWrite, defaultValue: 'MERGE' }),
    archived: t.boolean({ description: 'Sets or clears `archivedAt`.' }),
    pinned: t.boolean({ description: 'Sets or clears `pinnedAt`.' }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY }),
  }),
});

const EndSessionInputType = builder.inputRef<EndSessionInput>('EndSessionInput').implement({
  fields: t => ({
    id: t.id({ required: true, description: 'Global id or bare UUID.' }),
    status: t.field({ type: SessionStatusEnum, defaultValue: 'ENDED', description: 'COMPLETED, FAILED or ENDED.' }),
    reason: t.string({ description: 'Becomes the `statusReason`.' }),
    expectedVersion: t.int({ description: 'VERSION_CONFLICT where the session has another version by now.' }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY }),
  }),
});

const DeleteSessionInputType = builder.inputRef<DeleteSessionInput>('DeleteSessionInput').implement({
  fields: t => ({
    id: t.id({ required: true, description: 'Global id or bare UUID.' }),
    permanent: t.boolean({ defaultValue: false, description: 'Removes session and messages for good, from the trash or past it.' }),
    expectedVersion: t.int({ description: 'VERSION_CONFLICT where the session has another version by now.' }),
  }),
});

const RestoreSessionInputType = builder.inputRef<RestoreSessionInput>('RestoreSessionInput').implement({
  description: 'A key or label taken meanwhile is KEY_TAKEN or LABEL_TAKEN, unless dropped.',
  fields: t => ({
    id: t.id({ required: true, description: 'Global id or bare UUID.' }),
    dropKey: t.boolean({ defaultValue: false, description: 'Comes back without its key, whether or not that is taken.' }),
    dropLabel: t.boolean({ defaultValue: false, description: 'Comes back without its label, whether or not that is taken.' }),
  }),
});

const CreateSessionPayload = builder.objectRef<Written & { readonly created: boolean }>('CreateSessionPayload').implement({
  fields: t => ({
    session: t.field({ type: Session, resolve: (payload, _args, context, info) => writtenSession(payload, context, info) }),
    created: t.boolean({
      description: 'False where `ifExists: RETURN` or an idempotency key found it.',
      resolve: payload => payload.created,
    }),
  }),
});

const SessionPayload = builder.objectRef<Written>('SessionPayload').implement({
  fields: t => ({
    session: t.field({ type: Session, resolve: (payload, _args, context, info) => writtenSession(payload, context, info) }),
  }),
});

const DeleteSessionPayload = builder.objectRef<Written & { readonly permanent: boolean }>('DeleteSessionPayload').implement({
  fields: t => ({
    deletedId: t.id({ description: 'Global id of the session.', resolve: payload => sessionGlobalId(payload.sessionId) }),
    session: t.field({
      type: Session,
      nullable: true,
      description: 'The session in the trash; null once gone for good.',
      resolve: (payload, _args, context, info) =>
        payload.permanent ? null : context.load.sessions.byId(payload.sessionId, columnGroups(info, [[]])),
    }),
  }),
});

builder.mutationFields(t => ({
  createSession: t.field({
    type: CreateSessionPayload,
    description: 'Creates a session, or finds the one that holds its key where `ifExists` is RETURN.',
    args: { input: t.arg({ type: CreateSessionInputType, required: true }) },
    extensions: { scope: 'WRITE' },
    resolve: async (_root, { input }, context) => {
      const { id, created } = await createSession(context.caller, input);
      return { sessionId: id, created };
    },
  }),
  updateSession: t.field({
    type: SessionPayload,
    description: 'Changes what is given, all or nothing.',
    args: { input: t.arg({ type: UpdateSessionInputType, required: true }) },
    extensions: { scope: 'WRITE' },
    resolve: async (_root, { input }, context) => ({ sessionId: await updateSession(context.caller, input) }),
  }),
  endSession: t.field({
    type: SessionPayload,
    description: 'Ends a session. It then takes no more messages.',
    args: { input: t.arg({ type: EndSessionInputType, required: true }) },
    extensions: { scope: 'WRITE' },
    resolve: async (_root, { input }, context) => ({ sessionId: await endSession(context.caller, input) }),
  }),
  deleteSession: t.field({
    type: DeleteSessionPayload,
    description: 'Moves a session to the trash, from which it can be restored until it is purged; or removes it for good.',
    args: { input: t.arg({ type: DeleteSessionInputType, required: true }) },
    extensions: { scope: 'MANAGE' },
    resolve: async (_root, { input }, context) => {
      const { id, permanent } = await deleteSession(context.caller, input);
      return { sessionId: id, permanent };
    },
  }),
  restoreSession: t.field({
    type: SessionPayload,
    description: 'Takes a session out of the trash.',
    args: { input: t.arg({ type: RestoreSessionInputType, required: true }) },
    extensions: { scope: 'MANAGE' },
    resolve: async (_root, { input }, context) => ({ sessionId: await restoreSession(context.caller, input) }),
  }),
}));
