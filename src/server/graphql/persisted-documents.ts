import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { DomainError, reasonOf, StartError } from '../../errors.ts';

/** Operations known beforehand: a client names one by its id, and what is not among them can be refused. */
export interface PersistedDocuments {
  /** Whether nothing else is run. */
  readonly only: boolean;
  /** Whether a text is one of the documents, to the letter. */
  has(text: string): boolean;
  /**
   * The text of the document that a request names, or null where it names none or brings a text of its own.
   * @throws DomainError PERSISTED_QUERY_REQUIRED, or BAD_USER_INPUT where others may be run, for an id that is not known
   */
  textFor(request: PersistedRequest): string | null;
}

/** What of a request names a document. */
export interface PersistedRequest {
  readonly query?: unknown;
  readonly documentId?: unknown;
  readonly extensions?: unknown;
}

const MANIFEST = 'apollo-persisted-query-manifest';

/** Either `{ "id": "query ...", ... }`, as Relay and GraphQL Code Generator write it, or the manifest of Apollo Client. */
const FILE = z.union([
  z.object({
    format: z.literal(MANIFEST),
    operations: z.array(z.object({ id: z.string(), body: z.string() })),
  }),
  z.record(z.string(), z.string()).refine(texts => texts.format !== MANIFEST),
]);

const NAMED_BY_HASH = z.object({ persistedQuery: z.object({ sha256Hash: z.string() }) });

/** Apollo Client names a document in the extensions, the appendix of GraphQL over HTTP by `documentId`. */
function idOf({ documentId, extensions }: PersistedRequest): string | null {
  if (typeof documentId === 'string') return documentId;
  const named = NAMED_BY_HASH.safeParse(extensions);
  return named.success ? named.data.persistedQuery.sha256Hash : null;
}

/** PERSISTED_QUERY_REQUIRED. */
export function documentRequired(): DomainError {
  return new DomainError('PERSISTED_QUERY_REQUIRED', 'This server runs the documents it knows, and no others.');
}

/** @param texts documents by their ids */
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
      throw only ? documentRequired() : new DomainError('BAD_USER_INPUT', 'There is no document of this id.', { field: 'documentId' });
    },
  };
}

/**
 * Reads the documents of a file; without one there are none.
 * @throws StartError where the file cannot be read, or is neither of the forms
 */
export async function loadPersistedDocuments({
  documentsFile,
  only,
}: {
  documentsFile: string | null;
  only: boolean;
}): Promise<PersistedDocuments> {
  if (documentsFile === null) return createPersistedDocuments(new Map(), only);
  let file: z.infer<typeof FILE>;
  try {
    file = FILE.parse(JSON.parse(await readFile(documentsFile, 'utf8')));
  } catch (error) {
    const reason =
      error instanceof z.ZodError ? 'it is neither an object of texts by their ids nor a manifest of Apollo Client' : reasonOf(error);
    throw new StartError(`The trusted documents in ${documentsFile} (PERSISTED_DOCUMENTS) could not be read: ${reason}`);
  }
  const entries: [string, string][] = Array.isArray(file.operations)
    ? file.operations.map(({ id, body }) => [id, body])
    : Object.entries(file);
  return createPersistedDocuments(new Map(entries), only);
}
