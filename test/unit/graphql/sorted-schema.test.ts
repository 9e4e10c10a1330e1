import { readFileSync } from 'node:fs';
import { assertEnumType, buildSchema, isEnumType } from 'graphql';
import { describe, expect, it } from 'vitest';
import { printSortedSchema } from '../../../src/graphql/sorted-schema.ts';
import { createSchema } from '../../../src/schema.ts';

describe('printSortedSchema', () => {
  it('sorts types, fields and arguments, and keeps the declared order of enum values', () => {
    const schema = buildSchema(`
      type Query { b(z: Int, y: Size): Int a: Size }
      "Of a shirt."
      enum Size { SMALL "Usual." MEDIUM LARGE }
      enum Colour { RED BLUE }
      type Animal { legs: Int colour: Colour }
    `);
    expect(printSortedSchema(schema)).toBe(`type Animal {
  colour: Colour
  legs: Int
}

enum Colour {
  RED
  BLUE
}

type Query {
  a: Size
  b(y: Size, z: Int): Int
}

"""Of a shirt."""
enum Size {
  SMALL

  """Usual."""
  MEDIUM
  LARGE
}`);
  });
});

describe('schema.graphql', () => {
  it('has the scopes and the priorities in ascending order', () => {
    const printed = buildSchema(readFileSync('schema.graphql', 'utf8'));
    const valuesOf = (name: string) =>
      assertEnumType(printed.getType(name))
        .getValues()
        .map(value => value.name);
    expect(valuesOf('ApiScope')).toEqual(['READ', 'WRITE', 'MANAGE', 'ADMIN']);
    expect(valuesOf('SessionPriority')).toEqual(['LOW', 'NORMAL', 'HIGH', 'CRITICAL']);
  });

  it('has the values of every enum in the order of the code', () => {
    const printed = buildSchema(readFileSync('schema.graphql', 'utf8'));
    const declared = Object.values(createSchema().getTypeMap()).filter(type => isEnumType(type) && !type.name.startsWith('__'));
    for (const type of declared) {
      const names = assertEnumType(type)
        .getValues()
        .map(value => value.name);
      expect(
        assertEnumType(printed.getType(type.name))
          .getValues()
          .map(value => value.name),
      ).toEqual(names);
    }
  });
});
