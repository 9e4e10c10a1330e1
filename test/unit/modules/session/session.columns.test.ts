import { assertInputObjectType, assertObjectType } from 'graphql';
import { describe, expect, it } from 'vitest';
import { ACTIVITY_COLUMNS, SESSION_COLUMNS, type SessionColumn } from '../../../../src/modules/session/session.columns.ts';
import { createSchema } from '../../../../src/schema.ts';

const schema = createSchema();
const session = assertObjectType(schema.getType('Session')).getFields();
const inputFields = (name: string) => assertInputObjectType(schema.getType(name)).getFields();

const COLUMNS: readonly (readonly [string, SessionColumn])[] = [...Object.entries(SESSION_COLUMNS), ...Object.entries(ACTIVITY_COLUMNS)];

const FILTERS: Readonly<Record<string, string>> = {
  text: 'StringFilter',
  timestamptz: 'DateTimeRange',
  session_status: 'StatusFilter',
  session_kind: 'KindFilter',
  session_priority: 'PriorityFilter',
};

describe('the GraphQL schema', () => {
  it.each(COLUMNS.filter(([, column]) => column.filter === true))('filters sessions by %s', (field, column) => {
    expect(String(inputFields('SessionFilter')[field]?.type)).toBe(FILTERS[column.type]);
  });

  it.each(COLUMNS.filter(([, column]) => column.input !== undefined))('lets createSession and updateSession set %s', (field, column) => {
    const name = column.inputName ?? field;
    expect(Object.keys(inputFields('CreateSessionInput'))).toContain(name);
    expect(Object.keys(inputFields('UpdateSessionInput'))).toContain(name);
  });

  it.each(COLUMNS.filter(([, column]) => column.input !== undefined))('shows %s, nullable as its column', (field, column) => {
    expect(String(session[field]?.type).endsWith('!')).toBe(column.nullable !== true);
  });

  it.each(COLUMNS.filter(([, column]) => column.changed !== undefined))('has the field that `changed` names for %s', (field, column) => {
    expect(Object.keys(session)).toContain(column.changed === true ? field : column.changed);
  });
});
