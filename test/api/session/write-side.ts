import pg from 'pg';
import { afterAll, beforeAll } from 'vitest';
import type { ErrorCode } from '../../../src/errors.ts';
import { startTestApp, type TestApp, type TestAppOptions } from '../../support/app.ts';
import type { GqlResponse } from '../../support/graphql-response.ts';
import type { GraphQLResponseError } from '../../support/http-client.ts';

/** Fields of a session as the tests of mutations compare them: all but links, clocks and what never changes. */
export const SESSION = /* GraphQL */ `
  id sessionId externalId key kind agentId type status title givenTitle label displayName subject category tags channel nodeId outputPath priority
  task prompt tokenLimit model modelProvider statusReason messageCount compactionCount version metadata depth
  origin { label provider surface chatType from to accountId threadId } delivery { channel to accountId threadId }
  usage { inputTokens outputTokens cacheReadTokens cacheWriteTokens totalTokens costUsd }
  progress { percent } parent { sessionId }
  createdAt startedAt updatedAt lastActivityAt lastMessageAt expectedCompletionAt endedAt archivedAt pinnedAt deletedAt purgeAt
`;

/** A session with the fields of `SESSION`; those the tests compute with are named. */
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

/** The mutations this issue brings. */
export type MutationName =
  | 'createSession'
  | 'updateSession'
  | 'endSession'
  | 'deleteSession'
  | 'restoreSession'
  | 'appendMessage'
  | 'appendMessages'
  | 'deleteMessage';

type Input = Readonly<Record<string, unknown>>;

/** The application, its mutations in short, and its database for what cannot be reached through the API. */
export interface WriteSide {
  readonly app: TestApp;
  /** Sends one mutation whose only argument is `input`. */
  send<Payload = Record<string, unknown>>(
    name: MutationName,
    input: Input,
    selection?: string,
  ): Promise<GqlResponse<Record<string, Payload>>>;
  /** The payload of a mutation that succeeds. */
  mutate<Payload = Record<string, unknown>>(name: MutationName, input: Input, selection: string): Promise<Payload>;
  /** The one error of a mutation that is refused with this code. */
  refuse(name: MutationName, input: Input, code: ErrorCode): Promise<GraphQLResponseError>;
  create(input?: Input): Promise<SessionView>;
  update(input: Input): Promise<SessionView>;
  append(sessionId: string, message: Input): Promise<MessageView>;
  /** A session as it is now; null where there is none. */
  session(id: string): Promise<SessionView | null>;
  /** All messages of a session, every branch. */
  messages(sessionId: string): Promise<readonly MessageView[]>;
  /** What the event log holds of a session, in the order it was written. */
  events(sessionId: string): Promise<readonly WrittenEvent[]>;
  /** Opens a connection past the application, for a transaction beside it; the caller ends it. */
  connect(): Promise<pg.Client>;
  /** Runs one statement past the application. */
  rows<Row extends pg.QueryResultRow>(sql: string, parameters?: readonly unknown[]): Promise<readonly Row[]>;
}

const INPUT_TYPES: Readonly<Record<MutationName, string>> = {
  createSession: 'CreateSessionInput',
  updateSession: 'UpdateSessionInput',
  endSession: 'EndSessionInput',
  deleteSession: 'DeleteSessionInput',
  restoreSession: 'RestoreSessionInput',
  appendMessage: 'AppendMessageInput',
  appendMessages: 'AppendMessagesInput',
  deleteMessage: 'DeleteMessageInput',
};

/** Starts the application before a file's tests; to be called at its top level. */
export function useWriteSide(options: TestAppOptions = {}): WriteSide {
  let app: TestApp;
  let direct: pg.Pool;
  beforeAll(async () => {
    app = await startTestApp(options);
    direct = new pg.Pool({ connectionString: app.databaseUrl, max: 4 });
    // The database is dropped under the pool's idle connections.
    direct.on('error', () => undefined);
  });
  afterAll(() => direct.end());

  const side: WriteSide = {
    get app() {
      return app;
    },
    send(name, input, selection = '__typename') {
      return app.gql(`mutation ($input: ${INPUT_TYPES[name]}!) { ${name}(input: $input) { ${selection} } }`, { input });
    },
    async mutate<Payload>(name: MutationName, input: Input, selection: string) {
      const { [name]: payload } = (await side.send<Payload>(name, input, selection)).expectOk();
      if (payload === undefined) throw new Error(`No payload of ${name}.`);
      return payload;
    },
    async refuse(name, input, code) {
      const answer = await side.send(name, input);
      if (answer.data != null) throw new Error(`${name} gave data beside its error: ${JSON.stringify(answer.data)}`);
      return answer.expectError(code);
    },
    async create(input = {}) {
      return (await side.mutate<{ session: SessionView }>('createSession', input, `session { ${SESSION} }`)).session;
    },
    async update(input) {
      return (await side.mutate<{ session: SessionView }>('updateSession', input, `session { ${SESSION} }`)).session;
    },
    async append(sessionId, message) {
      const input = { sessionId, message: { role: 'USER', ...message } };
      return (await side.mutate<{ message: MessageView }>('appendMessage', input, `message { ${MESSAGE} }`)).message;
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
      return side.rows<pg.QueryResultRow & WrittenEvent>(
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
  return side;
}

/** The types of events, in their order. */
export function typesOf(events: readonly WrittenEvent[]): string[] {
  return events.map(event => event.type);
}

/** Settles all calls, and gives the codes of those that failed, `OK` for the others, in the order of the calls. */
export async function outcomesOf(answers: readonly Promise<GqlResponse<unknown>>[]): Promise<string[]> {
  return (await Promise.all(answers)).map(answer => answer.errors?.[0]?.extensions.code ?? 'OK');
}
