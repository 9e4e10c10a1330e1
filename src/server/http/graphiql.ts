import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

/** One operation GraphiQL opens with, in a tab of its own. */
export interface ExampleOperation {
  readonly query: string;
  /** JSON. */
  readonly variables?: string;
}

/** List, page, search, create, append, subscribe; a test runs each against the schema. */
export const EXAMPLE_OPERATIONS: readonly ExampleOperation[] = [
  {
    query: `# The newest sessions. The other tabs are examples, too:
# page, search, create, append, subscribe.
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
    query: `# One page after another: put pageInfo.endCursor
# of an answer into the variable "after".
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
    query: `# Messages by their words, newest first.
# SUBSTRING finds the exact characters instead.
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
    query: `# Makes a session. Its sessionId goes into AppendMessage.
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
# SessionEvents shows the message as it comes in.
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
    query: `# Every change of every session, live. Press play, then
# change something in another tab or window.
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

/** GraphiQL as one page: 9 MB, and 2 MB as it is sent. */
export interface GraphiQLPage {
  readonly html: Buffer;
  readonly gzipped: Buffer;
  /** Changes with the page; quoted as HTTP has it. */
  readonly etag: string;
}

/** Everything the page needs is in it; it speaks to its own server only, and no other page may frame it. */
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

/** Three linked nodes. The page's own is 300 KB. */
const FAVICON = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M4 4l8 2-5 7z" fill="none" stroke="#36c"/><g fill="#36c"><circle cx="4" cy="4" r="2.5"/><circle cx="12" cy="6" r="2.5"/><circle cx="7" cy="13" r="2.5"/></g></svg>',
)}`;

async function render(): Promise<GraphiQLPage> {
  // 9 MB of source: read when somebody opens the page, not at every start.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  const page = renderGraphiQL({
    title: 'Sessiongraph',
    favicon: FAVICON,
    subscriptionsProtocol: 'WS',
    defaultTabs: EXAMPLE_OPERATIONS.map(({ query, variables = null }) => ({ query, variables })),
  });
  const html = Buffer.from(page);
  const etag = `"${createHash('sha256').update(html).digest('base64url')}"`;
  return { html, gzipped: await promisify(gzip)(html), etag };
}

let rendered: Promise<GraphiQLPage> | null = null;

/** The page, made once. */
export function loadGraphiQL(): Promise<GraphiQLPage> {
  rendered ??= render();
  return rendered;
}
