import pg from 'pg';
import { afterAll, beforeAll } from 'vitest';
import type { ErrorCode } from '../../../src/errors.ts';
import { startTestApp, type TestApp, type TestAppOptions } from '../../support/app.ts';
import type { GqlResponse } from '../../support/graphql-response.ts';
import type { GraphQLResponseError } from '../../support/http-client.ts';
import { TEXT_FIELDS } from './text-fields.ts';

/** The fields of a session that the mutation tests compare. */
export const SESSION = /* GraphQL */ `
  id sessionId externalId key kind agentId type status givenTitle ${TEXT_FIELDS.join(' ')} tags priority tokenLimit statusReason messageCount compactionCount version metadata depth
  origin { label provider surface chatType from to accountId threadId } delivery { channel to accountId threadId }
  usage { inputTokens outputTokens cacheReadTokens cacheWriteTokens totalTokens costUsd }
  progress { percent } parent { sessionId }
  createdAt startedAt updatedAt lastActivityAt lastMessageAt expectedCompletionAt endedAt archivedAt pinnedAt deletedAt purgeAt
`;

/** A session with the fields of `SESSION`. Only the fields that tests read are typed. */
export interface SessionView extends Readonly<Record<string, unknown>> {
  readonly id: string;
  readonly sessionId: string;
  readonly version: number;
  readonly startedAt: string;
  readonly updatedAt: string;
  readonly lastActivityAt: string;
  readonly createdAt: string;
  readonly endedAt: string | null;
  readonly deletedAt: string | null;
  readonly messageCount: number;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** Fields of a message as the tests compare them. */
export const MESSAGE = /* GraphQL */ `
  id messageId position role content agentId model provider latencyMs stopReason metadata active createdAt parent { position }
  usage { inputTokens outputTokens cacheReadTokens cacheWriteTokens totalTokens costUsd }
  parts {
    __typename type
    ... on TextPart { text } ... on ThinkingPart { thought: text redacted } ... on ToolCallPart { callId name arguments }
    ... on ToolResultPart { callId resultOf: name content isError details } ... on ImagePart { mimeType url data } ... on OtherPart { other: data }
  }
`;

/** A message with the fields of `MESSAGE`. */
export interface MessageView extends Readonly<Record<string, unknown>> {
  readonly id: string;
  readonly messageId: string;
  readonly position: number;
  readonly content: string;
  readonly active: boolean;
  readonly createdAt: string;
  readonly parent: { readonly position: number } | null;
}

/** A row of the event log, as written. */
export interface WrittenEvent {
  readonly type: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** The mutations under test, with the types of their inputs. */
const INPUT_TYPES = {
  createSession: 'CreateSessionInput',
  updateSession: 'UpdateSessionInput',
  endSession: 'EndSessionInput',
  deleteSession: 'DeleteSessionInput',
  restoreSession: 'RestoreSessionInput',
  appendMessage: 'AppendMessageInput',
  appendMessages: 'AppendMessagesInput',
  deleteMessage: 'DeleteMessageInput',
} as const;

/** The name of a mutation under test. */
export type MutationName = keyof typeof INPUT_TYPES;

type Input = Readonly<Record<string, unknown>>;

/** A test server with short forms of its mutations, and direct SQL for state that the API cannot set or show. */
export interface MutationApi {
  readonly app: TestApp;
  /** Sends one mutation whose only argument is `input`. */
  send<Payload = Record<string, unknown>>(
    name: MutationName,
    input: Input,
    selection?: string,
  ): Promise<GqlResponse<Record<string, Payload>>>;
  /** Sends a mutation and returns its payload. @throws Error if the response has errors */
  mutate<Payload = Record<string, unknown>>(name: MutationName, input: Input, selection: string): Promise<Payload>;
  /** Sends a mutation and returns its error. @throws Error if the response has data or another error code */
  expectError(name: MutationName, input: Input, code: ErrorCode): Promise<GraphQLResponseError>;
  create(input?: Input): Promise<SessionView>;
  update(input: Input): Promise<SessionView>;
  append(sessionId: string, message: Input): Promise<MessageView>;
  /** The current state of a session; null if there is none. */
  session(id: string): Promise<SessionView | null>;
  /** All messages of a session, on every branch. */
  messages(sessionId: string): Promise<readonly MessageView[]>;
  /** The session's events in the log, in the order they were written. */
  events(sessionId: string): Promise<readonly WrittenEvent[]>;
  /** Opens a database connection for a transaction of the test. The caller ends it. */
  connect(): Promise<pg.Client>;
  /** Runs one SQL statement directly on the database. */
  rows<Row extends pg.QueryResultRow>(sql: string, parameters?: readonly unknown[]): Promise<readonly Row[]>;
}

/** Starts a server before the tests of a file. Call it at the file's top level. */
export function useMutationApi(options: TestAppOptions = {}): MutationApi {
  let app: TestApp;
  let direct: pg.Pool;
  beforeAll(async () => {
    app = await startTestApp(options);
    direct = new pg.Pool({ connectionString: app.databaseUrl, max: 4 });
    // Closing the app drops the database, which breaks the pool's idle connections. An 'error' event without a listener would crash the process.
    direct.on('error', () => undefined);
  });
  afterAll(() => direct.end());

  const api: MutationApi = {
    get app() {
      return app;
    },
    send(name, input, selection = '__typename') {
      return app.gql(`mutation ($input: ${INPUT_TYPES[name]}!) { ${name}(input: $input) { ${selection} } }`, { input });
    },
    async mutate<Payload>(name: MutationName, input: Input, selection: string) {
      const { [name]: payload } = (await api.send<Payload>(name, input, selection)).expectOk();
      if (payload === undefined) throw new Error(`${name} returned no payload.`);
      return payload;
    },
    async expectError(name, input, code) {
      const answer = await api.send(name, input);
      if (answer.data?.[name] != null) throw new Error(`${name} returned data besides its error: ${JSON.stringify(answer.data)}`);
      return answer.expectError(code);
    },
    async create(input = {}) {
      return (await api.mutate<{ session: SessionView }>('createSession', input, `session { ${SESSION} }`)).session;
    },
    async update(input) {
      return (await api.mutate<{ session: SessionView }>('updateSession', input, `session { ${SESSION} }`)).session;
    },
    async append(sessionId, message) {
      const input = { sessionId, message: { role: 'USER', ...message } };
      return (await api.mutate<{ message: MessageView }>('appendMessage', input, `message { ${MESSAGE} }`)).message;
    },
    async session(id) {
      return (await app.gql<{ session: SessionView | null }>(`query ($id: ID!) { session(id: $id) { ${SESSION} } }`, { id })).expectOk()
        .session;
    },
    async messages(sessionId) {
      const answer = await app.gql<{ session: { messages: { nodes: MessageView[] } } | null }>(
        `query ($id: ID!) { session(id: $id) { messages(first: 500, branch: ALL) { nodes { ${MESSAGE} } } } }`,
        { id: sessionId },
      );
      return answer.expectOk().session?.messages.nodes ?? [];
    },
    async events(sessionId) {
      return api.rows<pg.QueryResultRow & WrittenEvent>(
        'select type::text, payload from aria_engine.session_events where session_id = $1 order by id',
        [sessionId],
      );
    },
    async connect() {
      const client = new pg.Client({ connectionString: app.databaseUrl });
      await client.connect();
      return client;
    },
    async rows<Row extends pg.QueryResultRow>(sql: string, parameters: readonly unknown[] = []) {
      return (await direct.query<Row>(sql, [...parameters])).rows;
    },
  };
  return api;
}

/** Returns the type of each event. */
export function typesOf(events: readonly WrittenEvent[]): string[] {
  return events.map(event => event.type);
}

/** Waits for all responses. Returns the error code of each, or `OK`, in the order of the calls. */
export async function outcomesOf(answers: readonly Promise<GqlResponse<unknown>>[]): Promise<string[]> {
  return (await Promise.all(answers)).map(answer => answer.errors?.[0]?.extensions.code ?? 'OK');
}
