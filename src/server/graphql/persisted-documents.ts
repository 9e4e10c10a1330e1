import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { DomainError, reasonOf, StartError } from '../../errors.ts';

/** Trusted documents. Clients send the id of a document instead of its text. The server can reject all other documents. */
export interface PersistedDocuments {
  /** Whether all other documents are rejected. */
  readonly only: boolean;
  /** Whether the text is exactly that of a trusted document. */
  has(text: string): boolean;
  /**
   * The text of the document whose id a request sends; null if the request sends no id, or sends a text.
   * @throws DomainError for an unknown id: PERSISTED_QUERY_REQUIRED if all other documents are rejected, otherwise BAD_USER_INPUT
   */
  textFor(request: PersistedRequest): string | null;
}

/** The parameters of a request that can name a document. */
export interface PersistedRequest {
  readonly query?: unknown;
  readonly documentId?: unknown;
  readonly extensions?: unknown;
}

const MANIFEST = 'apollo-persisted-query-manifest';

/** Either `{ "id": "query ...", ... }`, as Relay and GraphQL Code Generator write it, or the manifest of Apollo Client. */
const DOCUMENTS_FILE = z.union([
  z.object({
    format: z.literal(MANIFEST),
    operations: z.array(z.object({ id: z.string(), body: z.string() })),
  }),
  z.record(z.string(), z.string()).refine(texts => texts.format !== MANIFEST),
]);

const APOLLO_EXTENSIONS = z.object({ persistedQuery: z.object({ sha256Hash: z.string() }) });

/** The id of a document: `documentId`, as the appendix of GraphQL over HTTP says, or in the extensions, as Apollo Client sends it. */
function idOf({ documentId, extensions }: PersistedRequest): string | null {
  if (typeof documentId === 'string') return documentId;
  const named = APOLLO_EXTENSIONS.safeParse(extensions);
  return named.success ? named.data.persistedQuery.sha256Hash : null;
}

/** PERSISTED_QUERY_REQUIRED. */
export function documentRequired(): DomainError {
  return new DomainError('PERSISTED_QUERY_REQUIRED', 'This server runs trusted documents only.');
}

/** @param texts document texts by id */
export function createPersistedDocuments(texts: ReadonlyMap<string, string>, only: boolean): PersistedDocuments {
  const known = new Set(texts.values());
  return {
    only,
    has: text => known.has(text),
    textFor(request) {
      if (typeof request.query === 'string' && request.query !== '') return null;
      const id = idOf(request);
      if (id === null) return null;
      const text = texts.get(id);
      if (text !== undefined) return text;
      throw only
        ? documentRequired()
        : new DomainError('BAD_USER_INPUT', 'There is no trusted document with this id.', { parameter: 'documentId' });
    },
  };
}

/**
 * Reads the trusted documents from a file. Without a file there are none.
 * @throws StartError if the file cannot be read or has another format
 */
export async function loadPersistedDocuments({
  documentsFile,
  only,
}: {
  documentsFile: string | null;
  only: boolean;
}): Promise<PersistedDocuments> {
  if (documentsFile === null) return createPersistedDocuments(new Map(), only);
  let file: z.infer<typeof DOCUMENTS_FILE>;
  try {
    file = DOCUMENTS_FILE.parse(JSON.parse(await readFile(documentsFile, 'utf8')));
  } catch (error) {
    const reason =
      error instanceof z.ZodError ? 'it is neither a JSON object of document texts by id nor a manifest of Apollo Client' : reasonOf(error);
    throw new StartError(`The trusted documents in ${documentsFile} (PERSISTED_DOCUMENTS) could not be read: ${reason}`);
  }
  const entries: [string, string][] = Array.isArray(file.operations)
    ? file.operations.map(({ id, body }) => [id, body])
    : Object.entries(file);
  return createPersistedDocuments(new Map(entries), only);
}
