import type { Column } from '../../postgres/columns/columns.ts';
import { MAX_LABEL_LENGTH, MAX_NAME_LENGTH } from './session.rules.ts';

/** Groups of columns that are read together. `core` is always read, the others if a field of the request needs them. */
export const SESSION_GROUPS = ['core', 'identity', 'creation', 'times', 'details', 'texts', 'json', 'extra', 'usage', 'progress'] as const;

/** A group of columns. */
export type SessionGroup = (typeof SESSION_GROUPS)[number];

/**
 * How createSession and updateSession check a value before they store it:
 * - `title` is trimmed, not blank and at most 200 characters, else TITLE_TOO_LONG
 * - `name` is trimmed, not blank and at most 200 characters unless another limit is given: `name()`, `name(4_096)`
 * - `text` is kept as it is, up to the given limit: `text(10_000)`
 * - `tags` are at most 50 names of at most 64 characters, without duplicates
 * - `choice` is a value of the column's enum, which GraphQL has checked
 * - `context` is an object with these optional text fields
 * - `tokenLimit` is between 1 and the server's limit, else INVALID_TOKEN_LIMIT
 */
export type InputKind =
  | { readonly kind: 'title' | 'tags' | 'choice' | 'tokenLimit' }
  | { readonly kind: 'name' | 'text'; readonly maxLength: number }
  | { readonly kind: 'context'; readonly names: readonly string[] };

/** A column of a session, and all that is done with it. */
export interface SessionColumn extends Column {
  /** The group in which queries read it; absent if they do not read it. */
  readonly read?: SessionGroup;
  /** Too large to be read with every row lock. */
  readonly large?: true;
  /** createSession and updateSession set it to the input field of this name, or `inputName`. */
  readonly input?: InputKind;
  readonly inputName?: string;
  /** The value if createSession gets none; null if absent. */
  readonly initial?: unknown;
  /** An UPDATED event names it in `changed` when it changes: by its own name, or by this one. */
  readonly changed?: true | string;
  /** SessionFilter has a field of this name; its type follows from the column's. */
  readonly filter?: true;
  /** An import only reads it, copies the source's value, or computes it by a rule of its own. */
  readonly imported?: 'read' | 'copied' | 'computed';
}

const TITLE = { kind: 'title' } as const;
const name = (maxLength = MAX_NAME_LENGTH) => ({ kind: 'name', maxLength }) as const;
const text = (maxLength: number) => ({ kind: 'text', maxLength }) as const;
const ORIGIN = { kind: 'context', names: ['label', 'provider', 'surface', 'chatType', 'from', 'to', 'accountId', 'threadId'] } as const;
const DELIVERY = { kind: 'context', names: ['channel', 'to', 'accountId', 'threadId'] } as const;

/** The columns of `chat_sessions`, alias `s`. A unit test compares them with schema.prisma. */
export const SESSION_COLUMNS = {
  id: { type: 'uuid', read: 'core', imported: 'read' },
  agentId: { type: 'text', read: 'core', imported: 'read' },
  status: { type: 'session_status', read: 'core', filter: true, imported: 'computed' },
  title: { type: 'text', read: 'core', changed: true, filter: true, imported: 'computed' },

  key: { type: 'text', nullable: true, read: 'identity', changed: true, filter: true, imported: 'copied' },
  kind: { type: 'session_kind', read: 'identity', changed: true, filter: true, imported: 'computed' },
  type: { type: 'text', read: 'identity', filter: true, imported: 'computed' },
  label: { type: 'text', nullable: true, read: 'identity', input: name(MAX_LABEL_LENGTH), changed: true, filter: true, imported: 'copied' },
  parentId: { type: 'uuid', nullable: true, read: 'identity', changed: 'parent', imported: 'computed' },
  version: { type: 'int', read: 'identity', imported: 'computed' },

  createdAt: { type: 'timestamptz', read: 'creation', filter: true, imported: 'computed' },
  startedAt: { type: 'timestamptz', read: 'times', filter: true, imported: 'computed' },
  endedAt: { type: 'timestamptz', nullable: true, read: 'times', filter: true, imported: 'computed' },
  deletedAt: { type: 'timestamptz', nullable: true, read: 'times', imported: 'read' },

  externalId: { type: 'text', nullable: true, read: 'details', filter: true },
  statusReason: { type: 'text', nullable: true, read: 'details', imported: 'computed' },
  givenTitle: { type: 'text', nullable: true, read: 'details', input: TITLE, inputName: 'title', changed: true, imported: 'copied' },
  displayName: { type: 'text', nullable: true, read: 'details', input: name(), changed: true, imported: 'copied' },
  subject: { type: 'text', nullable: true, read: 'details', input: name(), changed: true, imported: 'copied' },
  category: { type: 'text', nullable: true, read: 'details', input: name(), changed: true, filter: true, imported: 'copied' },
  tags: { type: 'text[]', read: 'details', input: { kind: 'tags' }, initial: [], changed: true },
  channel: { type: 'text', nullable: true, read: 'details', input: name(), changed: true, filter: true, imported: 'copied' },
  nodeId: { type: 'text', nullable: true, read: 'details', input: name(), changed: true, filter: true },
  outputPath: { type: 'text', nullable: true, read: 'details', input: name(4_096), changed: true },
  workspace: { type: 'text', nullable: true, read: 'details', input: name(4_096), changed: true, filter: true },
  priority: { type: 'session_priority', read: 'details', input: { kind: 'choice' }, initial: 'NORMAL', changed: true, filter: true },
  tokenLimit: { type: 'int', nullable: true, read: 'details', input: { kind: 'tokenLimit' }, changed: true },
  model: { type: 'text', nullable: true, read: 'details', input: name(), changed: true, filter: true, imported: 'copied' },
  modelProvider: { type: 'text', nullable: true, read: 'details', input: name(), changed: true, imported: 'copied' },
  compactionCount: { type: 'int', read: 'details', changed: true, imported: 'computed' },
  expectedCompletionAt: { type: 'timestamptz', nullable: true, read: 'details', changed: true },
  archivedAt: { type: 'timestamptz', nullable: true, read: 'details', changed: true, imported: 'copied' },
  pinnedAt: { type: 'timestamptz', nullable: true, read: 'details', changed: true, imported: 'copied' },
  supersededAt: { type: 'timestamptz', nullable: true, read: 'details', changed: true, imported: 'computed' },

  task: { type: 'text', nullable: true, read: 'texts', input: text(10_000), changed: true },
  prompt: { type: 'text', nullable: true, read: 'texts', input: text(1_000_000), changed: true },

  settings: { type: 'jsonb', read: 'json', large: true, changed: true, imported: 'computed' },
  origin: { type: 'jsonb', nullable: true, read: 'json', input: ORIGIN, changed: true, imported: 'copied' },
  delivery: { type: 'jsonb', nullable: true, read: 'json', input: DELIVERY, changed: true, imported: 'copied' },
  metadata: { type: 'jsonb', read: 'json', large: true, changed: true, imported: 'computed' },
  settingsExtra: { type: 'jsonb', read: 'extra', large: true, changed: 'settings', imported: 'computed' },

  derivedTitle: { type: 'text', nullable: true, imported: 'computed' },
  compactedThrough: { type: 'bigint', imported: 'computed' },
  workingSince: { type: 'timestamptz', nullable: true },
  expectedDurationMs: { type: 'bigint', nullable: true },
} as const satisfies Readonly<Record<string, SessionColumn>>;

/** The columns of `chat_session_activity`, alias `a`: what messages, logs and progress change. */
export const ACTIVITY_COLUMNS = {
  sessionId: { type: 'uuid' },
  agentId: { type: 'text', filter: true },
  listed: { type: 'boolean' },
  messageCount: { type: 'int', read: 'core', imported: 'computed' },
  updatedAt: { type: 'timestamptz', read: 'core', filter: true, imported: 'computed' },
  lastActivityAt: { type: 'timestamptz', read: 'core', filter: true, imported: 'computed' },
  lastMessageAt: { type: 'timestamptz', nullable: true, read: 'times', imported: 'computed' },

  inputTokens: { type: 'bigint', capped: true, read: 'usage', imported: 'computed' },
  outputTokens: { type: 'bigint', capped: true, read: 'usage', imported: 'computed' },
  cacheReadTokens: { type: 'bigint', capped: true, read: 'usage', imported: 'computed' },
  cacheWriteTokens: { type: 'bigint', capped: true, read: 'usage', imported: 'computed' },
  totalTokens: { type: 'bigint', capped: true, read: 'usage', imported: 'computed' },
  costNanoUsd: { type: 'bigint', capped: true, read: 'usage', imported: 'computed' },
  contextUsed: { type: 'bigint', nullable: true, imported: 'copied' },

  progressPercent: { type: 'int', read: 'progress' },
  tasksCompleted: { type: 'int', nullable: true, read: 'progress' },
  tasksTotal: { type: 'int', nullable: true, read: 'progress' },
  currentTask: { type: 'text', nullable: true, read: 'progress' },

  nextPosition: { type: 'bigint', imported: 'computed' },
  leafPosition: { type: 'bigint', nullable: true, imported: 'computed' },
} as const satisfies Readonly<Record<string, SessionColumn>>;

/** The name under which an UPDATED event says that a field changed; null if the event does not name the field. */
export function changedName(field: keyof typeof SESSION_COLUMNS): string | null {
  const { changed }: SessionColumn = SESSION_COLUMNS[field];
  return changed === true ? field : (changed ?? null);
}
