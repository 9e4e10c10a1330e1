import type { PageAsset } from './page.ts';
import { encodeAsset, readBuiltAsset } from './page-asset.ts';

/** An operation that GraphiQL opens in a tab. */
export interface ExampleOperation {
  readonly query: string;
  /** JSON. */
  readonly variables?: string;
}

/** The tabs of GraphiQL. A test runs each of them. */
export const EXAMPLE_OPERATIONS: readonly ExampleOperation[] = [
  {
    query: `# The newest sessions. The other tabs show how to page,
# search, create, append and subscribe.
query ListSessions {
  sessions(first: 10) {
    nodes {
      sessionId
      title
      status
      agentId
      messageCount
      lastActivityAt
      lastMessage { role content }
    }
    totalCount
  }
}
`,
  },
  {
    query: `# To get the next page, copy pageInfo.endCursor of the
# response into the variable "after".
query PageThroughSessions($first: Int!, $after: String) {
  sessions(
    first: $first
    after: $after
    filter: { status: { in: [ACTIVE, WORKING, COMPLETED] } }
    orderBy: [{ field: CREATED_AT, direction: DESC }]
  ) {
    edges {
      cursor
      node { sessionId title status createdAt }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`,
    variables: '{ "first": 5, "after": null }',
  },
  {
    query: `# Searches messages for words, newest first.
# The mode SUBSTRING finds the exact characters.
query Search($text: String!) {
  searchMessages(query: $text, mode: WORDS, first: 10) {
    edges {
      snippet
      node {
        role
        createdAt
        session { sessionId title }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`,
    variables: '{ "text": "error" }',
  },
  {
    query: `# Creates a session. Copy its sessionId into AppendMessage.
mutation CreateSession($input: CreateSessionInput!) {
  createSession(input: $input) {
    created
    session { sessionId title status agentId key createdAt version }
  }
}
`,
    variables: '{ "input": { "title": "Made in GraphiQL", "tags": ["example"], "metadata": { "from": "GraphiQL" } } }',
  },
  {
    query: `# Put the sessionId of a session into the variables.
# SessionEvents shows the new message.
mutation AppendMessage($input: AppendMessageInput!) {
  appendMessage(input: $input) {
    message { messageId position role content createdAt }
    session { title messageCount lastActivityAt }
  }
}
`,
    variables: '{ "input": { "sessionId": "", "message": { "role": "USER", "content": "Hello from GraphiQL" } } }',
  },
  {
    query: `# Shows every change of every session as it happens.
# Press play, then change something in another tab or window.
subscription SessionEvents {
  sessionEvents {
    __typename
    occurredAt
    sessionId
    session { title status }
    ... on SessionStatusChangedEvent { from to reason }
    ... on MessageAddedEvent { message { role content } }
  }
}
`,
  },
];

/** The page contains everything it needs. It may only connect to this server, and no other page may frame it. */
export const GRAPHIQL_POLICY = [
  "default-src 'none'",
  "script-src 'unsafe-inline' 'unsafe-eval' blob:",
  'worker-src blob:',
  "style-src 'unsafe-inline'",
  "img-src 'self' data:",
  'font-src data:',
  "connect-src 'self' ws: wss: data: blob:",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

/** Three linked nodes. GraphiQL's own icon has 300 KB. */
const FAVICON = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M4 4l8 2-5 7z" fill="none" stroke="#36c"/><g fill="#36c"><circle cx="4" cy="4" r="2.5"/><circle cx="12" cy="6" r="2.5"/><circle cx="7" cy="13" r="2.5"/></g></svg>',
)}`;

/** Name of the page in the build. */
export const GRAPHIQL_FILE = 'graphiql.html';

/** Renders the page: 9 MB of HTML. */
export async function renderGraphiQLPage(): Promise<Buffer> {
  // Imported here because the package is as large as the page, and the server needs it only if the build has no page.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  const html = renderGraphiQL({
    title: 'Sessiongraph',
    favicon: FAVICON,
    subscriptionsProtocol: 'WS',
    defaultTabs: EXAMPLE_OPERATIONS.map(({ query, variables = null }) => ({ query, variables })),
  });
  return Buffer.from(html);
}

/** GraphiQL from the build, or else rendered at the first request. GraphQL has the same path, so `accept` selects the page. */
export const GRAPHIQL_ASSET: PageAsset = {
  name: '',
  contentType: 'text/html; charset=utf-8',
  accept: 'text/html',
  load: async () => (await readBuiltAsset(GRAPHIQL_FILE)) ?? encodeAsset(await renderGraphiQLPage()),
};
