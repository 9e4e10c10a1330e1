import { badInput, DomainError } from '../../errors.ts';
import { type ColumnValue, type FieldsWith, fieldsWith } from '../../postgres/columns/columns.ts';
import { type InputKind, SESSION_COLUMNS, type SessionColumn } from '../session/session.columns.ts';
import { MAX_TAG_LENGTH, MAX_TAGS, MAX_TITLE_LENGTH } from '../session/session.rules.ts';
import { isJsonObject, readName, readText } from '../text/text.input.ts';
import { characterCount } from '../text/text.rules.ts';

type Table = typeof SESSION_COLUMNS;

/** A field whose column createSession and updateSession set. */
type InputField = FieldsWith<Table, { readonly input: InputKind }>;

type InputName<Field extends InputField> = Table[Field] extends { readonly inputName: infer Name extends string } ? Name : Field;

type InputValue<Field extends InputField> = Table[Field]['input'] extends { readonly names: readonly (infer Name extends string)[] }
  ? Readonly<Partial<Record<Name, string | null>>>
  : ColumnValue<Table[Field], Date>;

/** The input fields that createSession and updateSession have in common and store in a column each. */
export type DescriptionInput = { readonly [Field in InputField as InputName<Field>]?: InputValue<Field> | null };

/** The checked values by column. A field that was left out is absent, a field that was cleared is null or empty. */
export type SessionDescription = { readonly [Field in InputField]?: ColumnValue<Table[Field], Date> };

/** The fields of a SessionDescription. */
export const DESCRIPTION_FIELDS = fieldsWith(SESSION_COLUMNS, 'input');

const MAX_CONTEXT_FIELD_LENGTH = 1_000;

/**
 * Checks the input fields that are stored in a column each. The input must have passed `assertStorable`.
 * @throws DomainError BAD_USER_INPUT, TITLE_TOO_LONG, INVALID_TOKEN_LIMIT
 */
export function readDescription(input: DescriptionInput, limits: InputLimits): SessionDescription {
  const given: Readonly<Record<string, unknown>> = input;
  const entries = DESCRIPTION_FIELDS.map((field): [string, unknown] => {
    const column: SessionColumn & { readonly input: InputKind } = SESSION_COLUMNS[field];
    const name = column.inputName ?? field;
    const value = given[name];
    if (value === undefined) return [field, undefined];
    if (value === null) return [field, column.nullable === true ? null : column.initial];
    return [field, readValue(column.input, value, `input.${name}`, limits)];
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

/** The description of a new session: a field that was left out has its initial value. */
export function withInitialValues(description: SessionDescription): SessionDescription {
  return Object.fromEntries(
    DESCRIPTION_FIELDS.map(field => {
      const { initial = null }: SessionColumn = SESSION_COLUMNS[field];
      return [field, description[field] ?? initial];
    }),
  );
}

interface InputLimits {
  readonly maxTokenLimit: number;
}

function readValue(input: InputKind, value: unknown, path: string, limits: InputLimits): unknown {
  // GraphQL has checked the types: the conversions change no value.
  switch (input.kind) {
    case 'title':
      return readTitle(String(value), path);
    case 'name':
      return readName(String(value), path, input.maxLength);
    case 'text':
      return readText(String(value), path, input.maxLength);
    case 'tags':
      return readTags(Array.isArray(value) ? value.map(String) : [], path);
    case 'tokenLimit':
      return readTokenLimit(Number(value), path, limits.maxTokenLimit);
    case 'context':
      return isJsonObject(value) ? readContext(value, path) : value;
    case 'choice':
      return value;
  }
}

function readTitle(text: string, path: string): string {
  const title = text.trim();
  if (title === '') throw badInput(path, 'must not be blank; null clears the title');
  if (characterCount(title) > MAX_TITLE_LENGTH) {
    throw new DomainError('TITLE_TOO_LONG', `The title has more than ${MAX_TITLE_LENGTH} characters.`, {
      field: path,
      maxLength: MAX_TITLE_LENGTH,
      length: characterCount(title),
    });
  }
  return title;
}

function readTags(tags: readonly string[], path: string): readonly string[] {
  const read = [...new Set(tags.map((tag, index) => readName(tag, `${path}.${index}`, MAX_TAG_LENGTH)))];
  if (read.length > MAX_TAGS) throw badInput(path, `must not have more than ${MAX_TAGS} tags`);
  return read;
}

function readTokenLimit(limit: number, path: string, max: number): number {
  if (limit >= 1 && limit <= max) return limit;
  throw new DomainError('INVALID_TOKEN_LIMIT', `The token limit must be from 1 to ${max}.`, { field: path, max });
}

/** The fields of an object that are neither absent nor null. */
function readContext(context: Readonly<Record<string, unknown>>, path: string): object {
  const entries = Object.entries(context).filter(([, value]) => value != null);
  for (const [name, value] of entries) readText(String(value), `${path}.${name}`, MAX_CONTEXT_FIELD_LENGTH);
  return Object.fromEntries(entries);
}
