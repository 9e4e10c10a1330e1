import type { Column } from '../../postgres/columns/columns.ts';

/**
 * Groups of columns that are read together. `core` is always read, `session` unless the statement reads the messages of given sessions, the
 * others if a field of the request needs them.
 */
export const MESSAGE_GROUPS = ['core', 'session', 'tree', 'content', 'parts', 'details'] as const;

/** A group of columns of a message. */
export type MessageGroup = (typeof MESSAGE_GROUPS)[number];

/** A column of a message, and all that is done with it. */
export interface MessageColumn extends Column {
  /** The group in which queries read it; absent if they do not read it. */
  readonly read?: MessageGroup;
  /** The caller of an append may set it to a text of at most this many characters. */
  readonly maxLength?: number;
  /** An append writes it. */
  readonly appended?: true;
  /** An import writes it. */
  readonly imported?: true;
}

const MAX_NAME_LENGTH = 200;

/** The columns of `chat_messages`, alias `m`. A unit test compares them with schema.prisma. */
export const MESSAGE_COLUMNS = {
  id: { type: 'uuid', read: 'core', appended: true, imported: true },
  sessionId: { type: 'uuid', read: 'session' },
  position: { type: 'bigint', read: 'core', imported: true },
  role: { type: 'message_role', read: 'core', appended: true, imported: true },
  createdAt: { type: 'timestamptz', read: 'core', appended: true, imported: true },

  parentPosition: { type: 'bigint', nullable: true, read: 'tree', appended: true, imported: true },
  content: { type: 'text', read: 'content', appended: true, imported: true },
  parts: { type: 'jsonb', nullable: true, read: 'parts', appended: true, imported: true },

  externalId: { type: 'text', nullable: true, read: 'details', imported: true },
  agentId: { type: 'text', nullable: true, read: 'details', maxLength: MAX_NAME_LENGTH, appended: true },
  model: { type: 'text', nullable: true, read: 'details', maxLength: MAX_NAME_LENGTH, appended: true, imported: true },
  provider: { type: 'text', nullable: true, read: 'details', maxLength: MAX_NAME_LENGTH, appended: true, imported: true },
  latencyMs: { type: 'int', nullable: true, read: 'details', appended: true },
  stopReason: { type: 'text', nullable: true, read: 'details', maxLength: MAX_NAME_LENGTH, appended: true, imported: true },
  metadata: { type: 'jsonb', read: 'details', appended: true, imported: true },
  inputTokens: { type: 'bigint', nullable: true, read: 'details', appended: true, imported: true },
  outputTokens: { type: 'bigint', nullable: true, read: 'details', appended: true, imported: true },
  cacheReadTokens: { type: 'bigint', nullable: true, read: 'details', appended: true, imported: true },
  cacheWriteTokens: { type: 'bigint', nullable: true, read: 'details', appended: true, imported: true },
  totalTokens: { type: 'bigint', nullable: true, read: 'details', appended: true, imported: true },
  costNanoUsd: { type: 'bigint', nullable: true, read: 'details', appended: true, imported: true },

  onBranch: { type: 'boolean' },
} as const satisfies Readonly<Record<string, MessageColumn>>;
