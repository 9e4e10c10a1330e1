import { SESSION_COLUMNS, type SessionColumn } from '../../../src/modules/session/session.columns.ts';
import { type FieldsWith, fieldsWith } from '../../../src/postgres/columns/columns.ts';

type TextColumn = FieldsWith<typeof SESSION_COLUMNS, { readonly input: { readonly kind: 'title' | 'name' | 'text' } }>;

/** A text that createSession and updateSession store. `givenTitle` is set by the input field `title`. */
type TextField = Exclude<TextColumn, 'givenTitle'> | 'title';

/** How many characters each text of a session may have. */
export const TEXT_LIMITS: Readonly<Record<TextField, number>> = {
  title: 200,
  label: 64,
  displayName: 200,
  subject: 200,
  category: 200,
  channel: 200,
  nodeId: 200,
  outputPath: 4_096,
  workspace: 4_096,
  model: 200,
  modelProvider: 200,
  task: 10_000,
  prompt: 1_000_000,
};

/** The input fields of all texts. */
export const TEXT_FIELDS: readonly string[] = Object.keys(TEXT_LIMITS);

const isUntrimmed = (column: SessionColumn) => column.input?.kind === 'text';

/** The texts that are stored with their white space. All others are trimmed and must not be blank. */
const UNTRIMMED_FIELDS: readonly string[] = fieldsWith(SESSION_COLUMNS, 'input').filter(field => isUntrimmed(SESSION_COLUMNS[field]));

/** The texts that are trimmed and must not be blank. */
export const TRIMMED_FIELDS: readonly string[] = TEXT_FIELDS.filter(field => !UNTRIMMED_FIELDS.includes(field));

/** A text with white space around it for each field, as a caller sends it. */
export const GIVEN_TEXTS: Readonly<Record<string, string>> = Object.fromEntries(TEXT_FIELDS.map(field => [field, ` ${field}\n`]));

/** The same texts as the server stores them. */
export const STORED_TEXTS: Readonly<Record<string, string>> = {
  ...GIVEN_TEXTS,
  ...Object.fromEntries(TRIMMED_FIELDS.map(field => [field, field])),
};

/** Null for each field. */
export const NULL_TEXTS: Readonly<Record<string, null>> = Object.fromEntries(TEXT_FIELDS.map(field => [field, null]));
