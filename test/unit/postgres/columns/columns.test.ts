import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { getDatamodel } from '../../../../src/generated/pothos-prisma-types.ts';
import { MESSAGE_COLUMNS } from '../../../../src/modules/message/message.columns.ts';
import { ACTIVITY_COLUMNS, SESSION_COLUMNS } from '../../../../src/modules/session/session.columns.ts';
import { type Column, columnName, fieldsOf } from '../../../../src/postgres/columns/columns.ts';

const SCHEMA = readFileSync(fileURLToPath(new URL('../../../../prisma/schema.prisma', import.meta.url)), 'utf8');

const TABLES = { Session: SESSION_COLUMNS, SessionActivity: ACTIVITY_COLUMNS, Message: MESSAGE_COLUMNS } as const;

/** Prisma's type of a column of each SQL type. */
const PRISMA_TYPES: Readonly<Record<Column['type'], string>> = {
  boolean: 'Boolean',
  int: 'Int',
  bigint: 'BigInt',
  text: 'String',
  'text[]': 'String[]',
  uuid: 'String @db.Uuid',
  timestamptz: 'DateTime @db.Timestamptz(3)',
  jsonb: 'Json',
  session_status: 'SessionStatus',
  session_kind: 'SessionKind',
  session_priority: 'SessionPriority',
  message_role: 'MessageRole',
};

/** The attributes of a model's field as schema.prisma writes them. */
function attributesOf(model: string, field: string): string {
  const [, body = ''] = new RegExp(`^model ${model} \\{\n(.*?)^\\}`, 'ms').exec(SCHEMA) ?? [];
  return new RegExp(`^ +${field} +\\S+(.*)$`, 'm').exec(body)?.[1] ?? '';
}

describe.each(Object.entries(TABLES))('the columns of %s', (model, table: Readonly<Record<string, Column>>) => {
  const fields = getDatamodel().datamodel.models[model]?.fields.filter(field => field.kind !== 'object') ?? [];

  it('are those of schema.prisma', () => {
    expect(fieldsOf(table).toSorted()).toEqual(fields.map(field => field.name).toSorted());
  });

  it.each(fields.map(field => [field.name, field] as const))(
    '%s has the type, nullability and column name of schema.prisma',
    (name, field) => {
      const attributes = attributesOf(model, name);
      const native = /@db\.\S+/.exec(attributes)?.[0];
      const column = table[name];
      expect({
        type: column && PRISMA_TYPES[column.type],
        nullable: column?.nullable === true,
        column: columnName(name),
      }).toEqual({
        type: [field.type + (field.isList ? '[]' : ''), ...(native === undefined ? [] : [native])].join(' '),
        nullable: !field.isRequired,
        column: /@map\("(\w+)"\)/.exec(attributes)?.[1] ?? name,
      });
    },
  );
});
