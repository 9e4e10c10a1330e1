import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';

const run = promisify(execFile);
const SCHEMA = fileURLToPath(new URL('../../schema.graphql', import.meta.url));
const COMPILER = createRequire(import.meta.url).resolve('relay-compiler/cli.js');

/** The source files of a Relay front end: a list that loads more, a transcript that loads backwards, an edge added by a mutation. */
const SOURCES: Record<string, string> = {
  'session-list.ts': `
    graphql\`
      fragment sessionList_query on Query
      @argumentDefinitions(count: { type: "Int", defaultValue: 20 }, cursor: { type: "String" }, filter: { type: "SessionFilter" })
      @refetchable(queryName: "sessionListPaginationQuery") {
        sessions(first: $count, after: $cursor, filter: $filter) @connection(key: "sessionList_sessions", filters: ["filter"]) {
          edges { node { id ...sessionRow_session } }
        }
      }
    \`;
  `,
  'session-row.ts': `
    graphql\`
      fragment sessionRow_session on Session @argumentDefinitions(withLast: { type: "Boolean", defaultValue: true }) {
        title
        status
        lastMessage @include(if: $withLast) { content }
      }
    \`;
  `,
  'transcript.ts': `
    graphql\`
      fragment transcript_session on Session
      @argumentDefinitions(count: { type: "Int", defaultValue: 50 }, cursor: { type: "String" })
      @refetchable(queryName: "transcriptPaginationQuery") {
        messages(last: $count, before: $cursor) @connection(key: "transcript_messages") {
          edges { node { id role content } }
        }
      }
    \`;
  `,
  'dashboard.ts': `
    graphql\`
      query dashboardQuery($id: ID!, $filter: SessionFilter) {
        ...sessionList_query @arguments(count: 10, filter: $filter)
        session(id: $id) { ...transcript_session }
        node(id: $id) { ...sessionRow_session @alias(as: "row") }
      }
    \`;
    graphql\`
      mutation dashboardAppendMutation($input: AppendMessageInput!, $connections: [ID!]!) {
        appendMessage(input: $input) { message @appendNode(connections: $connections, edgeTypeName: "MessageEdge") { id content } }
      }
    \`;
    graphql\`
      subscription dashboardSubscription($filter: SessionEventFilter) {
        sessionEvents(filter: $filter) { session { ...sessionRow_session } }
      }
    \`;
  `,
};

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sessiongraph-relay-'));
  await mkdir(join(folder, 'src'));
  await Promise.all(Object.entries(SOURCES).map(([name, text]) => writeFile(join(folder, 'src', fileNameOf(name)), toModule(text))));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Converts to camel case: Relay requires that names of fragments and operations start with the module name. */
function fileNameOf(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function toModule(text: string): string {
  return `import { graphql } from 'relay-runtime';\n${text}`;
}

async function compile(schema: string): Promise<string> {
  const config = {
    src: './src',
    schema: './schema.graphql',
    language: 'typescript',
    artifactDirectory: './generated',
    eagerEsModules: true,
  };
  await mkdir(join(folder, 'generated'), { recursive: true });
  await writeFile(join(folder, 'schema.graphql'), schema);
  await writeFile(join(folder, 'relay.config.json'), JSON.stringify(config));
  const { stdout, stderr } = await run(process.execPath, [COMPILER, 'relay.config.json'], { cwd: folder });
  return stdout + stderr;
}

it('compiles a Relay front end against the schema', async () => {
  await compile(await readFile(SCHEMA, 'utf8'));
  const artifacts = await readdir(join(folder, 'generated'));
  expect(artifacts.sort()).toEqual([
    'dashboardAppendMutation.graphql.ts',
    'dashboardQuery.graphql.ts',
    'dashboardSubscription.graphql.ts',
    'sessionListPaginationQuery.graphql.ts',
    'sessionList_query.graphql.ts',
    'sessionRow_session.graphql.ts',
    'transcriptPaginationQuery.graphql.ts',
    'transcript_session.graphql.ts',
  ]);
});

it('fails for a schema without PageInfo.endCursor', async () => {
  const schema = await readFile(SCHEMA, 'utf8');
  await expect(compile(schema.replace(/^ {2}endCursor: String$/m, '  lastCursor: String'))).rejects.toThrow('endCursor');
});
