import type { InputFieldBuilder } from '@pothos/core';
import { builder, type SchemaTypes } from '../../graphql/builder.ts';
import { IDEMPOTENCY_KEY } from '../idempotency/idempotency.input.ts';
import { SessionPriorityEnum, SessionStatusEnum } from '../session-filter/session-filter.schema.ts';
import type { DescriptionInput } from './session-description.input.ts';
import type {
  CreateSessionInput,
  DeleteSessionInput,
  EndSessionInput,
  RestoreSessionInput,
  UpdateSessionInput,
} from './session-mutation.input.ts';

const SESSION_ID = 'Global id or UUID of the session.';
const EXPECTED_VERSION = 'If the session is at another version, the call fails with VERSION_CONFLICT.';

const IfExists = builder.enumType('IfExists', {
  description: 'What createSession does if another session already has the key.',
  values: { ERROR: { description: 'It fails with KEY_TAKEN.' }, RETURN: { description: 'It returns that session, unchanged.' } },
});

const MetadataWrite = builder.enumType('MetadataWrite', {
  description: 'How updateSession writes metadata.',
  values: {
    MERGE: { description: 'Sets the given top-level keys. A null value removes its key.' },
    REPLACE: { description: 'Replaces the whole object.' },
  },
});

const SessionOriginInput = builder.inputRef<NonNullable<DescriptionInput['origin']>>('SessionOriginInput').implement({
  description: 'Where a session came from. Texts of at most 1,000 characters.',
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
  description: 'Where replies are sent. Texts of at most 1,000 characters.',
  fields: t => ({ channel: t.string(), to: t.string(), accountId: t.string(), threadId: t.string() }),
});

/** The fields that CreateSessionInput and UpdateSessionInput have in common. */
function descriptionFields(t: InputFieldBuilder<SchemaTypes, 'InputObject'>) {
  return {
    title: t.string({ description: 'At most 200 characters. Null clears the given title: the session then shows a derived title.' }),
    label: t.string({ description: 'A short name, unique per agent. 1 to 64 characters.' }),
    displayName: t.string({ description: 'A name to show, e.g. the name of a group. At most 200 characters.' }),
    subject: t.string({ description: 'The subject of a group or thread. At most 200 characters.' }),
    category: t.string({ description: 'A category of your own. At most 200 characters.' }),
    tags: t.stringList({ description: 'All tags of the session: at most 50, of at most 64 characters each.' }),
    channel: t.string({ description: 'Where the conversation takes place, e.g. telegram, slack or web. At most 200 characters.' }),
    nodeId: t.string({ description: 'The machine or device that the session runs on. At most 200 characters.' }),
    outputPath: t.string({ description: 'Where the agent writes its output. The server does not access it. At most 4,096 characters.' }),
    workspace: t.string({ description: 'The folder or repository the agent works in. At most 4,096 characters.' }),
    task: t.string({ description: 'What the session works on, in a sentence. At most 10,000 characters.' }),
    prompt: t.string({ description: 'The full text the session is started with. At most 1,000,000 characters.' }),
    tokenLimit: t.int({
      description:
        'The session fails when its usage reaches 95 % of this limit. INVALID_TOKEN_LIMIT if the usage is already there, or if the limit is ' +
        'below 1 or above the maximum of the server.',
    }),
    parentId: t.id({ description: 'Global id or UUID of the parent. A session that has a parent keeps it.' }),
    model: t.string({ description: 'At most 200 characters.' }),
    modelProvider: t.string({ description: 'At most 200 characters.' }),
    origin: t.field({ type: SessionOriginInput, description: 'Where the session came from.' }),
    delivery: t.field({ type: DeliveryContextInput, description: 'Where replies are sent.' }),
    metadata: t.field({ type: 'JSON', description: 'A JSON object of at most 64 KiB.' }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY }),
  };
}

export const CreateSessionInputType = builder.inputRef<CreateSessionInput>('CreateSessionInput').implement({
  description: 'A new session. All fields are optional.',
  fields: t => ({
    ...descriptionFields(t),
    agentId: t.string({
      description:
        "Default: the agent of the key, else the agent the API key is limited to, else the server's default agent. Normalised like an agent id " +
        'in a key. BAD_USER_INPUT if the key names another agent.',
    }),
    type: t.string({ defaultValue: 'chat', description: 'Any text, e.g. chat, cron or subagent. Stored in lower case.' }),
    key: t.string({
      description:
        'Stored in canonical form: `agent:<agent>:<rest>`; `global` and `unknown` stay as they are. A key without an agent gets the agent of the ' +
        'session. Unique per agent. BAD_USER_INPUT for a key that starts with `agent:` but lacks an agent or a rest, such as `agent:main` and ' +
        '`agent:::`, and for a key of colons only.',
    }),
    ifExists: t.field({ type: IfExists, defaultValue: 'ERROR' }),
    status: t.field({ type: SessionStatusEnum, defaultValue: 'ACTIVE', description: 'SPAWNING, ACTIVE or WORKING.' }),
    priority: t.field({ type: SessionPriorityEnum, defaultValue: 'NORMAL' }),
    expectedDurationMs: t.field({
      type: 'SafeInt',
      description: 'Expected duration of the work in milliseconds. Sets `expectedCompletionAt` to `startedAt` plus the duration.',
    }),
    startedAt: t.field({ type: 'DateTime', description: 'Default: now.' }),
  }),
});

export const UpdateSessionInputType = builder.inputRef<UpdateSessionInput>('UpdateSessionInput').implement({
  description:
    'The changes of a session, all or nothing. A field that is left out is kept. Null clears it; for tags and metadata, null sets the empty ' +
    'value. For status, priority, archived, pinned, metadataWrite and parentId, null is BAD_USER_INPUT.',
  fields: t => ({
    ...descriptionFields(t),
    id: t.id({ required: true, description: SESSION_ID }),
    expectedVersion: t.int({ description: EXPECTED_VERSION }),
    status: t.field({
      type: SessionStatusEnum,
      description: 'SPAWNING, ACTIVE, WORKING, COMPLETED, FAILED or ENDED. ACTIVE reopens a COMPLETED or ENDED session.',
    }),
    statusReason: t.string({ description: 'The reason of the status. At most 2,000 characters.' }),
    priority: t.field({ type: SessionPriorityEnum }),
    expectedCompletionAt: t.field({ type: 'DateTime', description: 'When the work should be done.' }),
    endedAt: t.field({
      type: 'DateTime',
      description:
        'Only for a session that has ended, or ends with this call. With a `status` that ends the session, null means now, or the end that it has ' +
        'already. Otherwise null is BAD_USER_INPUT for a session that has ended, because it always has an end; `status: ACTIVE` reopens it.',
    }),
    metadataWrite: t.field({ type: MetadataWrite, defaultValue: 'MERGE' }),
    archived: t.boolean({ description: 'Sets or clears `archivedAt`.' }),
    pinned: t.boolean({ description: 'Sets or clears `pinnedAt`.' }),
  }),
});

export const EndSessionInputType = builder.inputRef<EndSessionInput>('EndSessionInput').implement({
  description: 'Which session to end, and how.',
  fields: t => ({
    id: t.id({ required: true, description: SESSION_ID }),
    status: t.field({ type: SessionStatusEnum, defaultValue: 'ENDED', description: 'COMPLETED, FAILED or ENDED.' }),
    reason: t.string({ description: 'The new `statusReason`. At most 2,000 characters.' }),
    expectedVersion: t.int({ description: EXPECTED_VERSION }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY }),
  }),
});

export const DeleteSessionInputType = builder.inputRef<DeleteSessionInput>('DeleteSessionInput').implement({
  description: 'Which session to delete, and how.',
  fields: t => ({
    id: t.id({ required: true, description: SESSION_ID }),
    permanent: t.boolean({
      defaultValue: false,
      description: 'Removes the session and its messages for good, in the trash or not. Needs the scope ADMIN.',
    }),
    expectedVersion: t.int({ description: EXPECTED_VERSION }),
  }),
});

export const RestoreSessionInputType = builder.inputRef<RestoreSessionInput>('RestoreSessionInput').implement({
  description:
    'Which session to restore. KEY_TAKEN or LABEL_TAKEN if another session uses its key or label by now, unless they are dropped.',
  fields: t => ({
    id: t.id({ required: true, description: SESSION_ID }),
    dropKey: t.boolean({ defaultValue: false, description: 'Restores the session without its key.' }),
    dropLabel: t.boolean({ defaultValue: false, description: 'Restores the session without its label.' }),
  }),
});
