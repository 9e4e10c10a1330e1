import SchemaBuilder from '@pothos/core';
import PrismaPlugin from '@pothos/plugin-prisma';
import type { Context } from '../context.ts';
import type PrismaTypes from '../generated/pothos-prisma-types.ts';
import { getDatamodel } from '../generated/pothos-prisma-types.ts';
import { NULLABLE_ROOT_FIELDS } from './nullable-root-fields.ts';

/**
 * The row type of each Prisma object whose rows come from a loader. The module that defines the object adds its entry:
 * `declare module '../../graphql/builder.ts' { interface LoadedRows { Session: SessionRow } }`.
 */
export interface LoadedRows extends Partial<Record<keyof PrismaTypes, object>> {}

/** The generated types. If a loader reads the rows of a type, its row type replaces Prisma's. */
type LoadedTypes = {
  [Name in keyof PrismaTypes]: undefined extends LoadedRows[Name]
    ? PrismaTypes[Name]
    : Omit<PrismaTypes[Name], 'Shape'> & { Shape: LoadedRows[Name] };
};

/** The types that the builder knows. */
interface BuilderTypes {
  Context: Context;
  PrismaTypes: LoadedTypes;
  DefaultFieldNullability: false;
  Scalars: {
    ID: { Input: string; Output: string };
    DateTime: { Input: Date; Output: Date | string };
    JSON: { Input: NonNullable<unknown>; Output: unknown };
    SafeInt: { Input: number; Output: number | bigint };
  };
}

/** The builder's types with Pothos' defaults added, as Pothos' generic types expect them. */
export type SchemaTypes = PothosSchemaTypes.ExtendDefaultTypes<BuilderTypes>;

/** The schema builder. Every module's schema file adds its types and fields to it when it is imported. */
export const builder = new SchemaBuilder<BuilderTypes>({
  plugins: [PrismaPlugin, NULLABLE_ROOT_FIELDS],
  defaultFieldNullability: false,
  prisma: {
    dmmf: getDatamodel(),
    // The loaders of src/modules read all rows. If a field makes the plugin read one, that is a bug.
    client: () => {
      throw new Error('The Prisma plugin was asked to load a row; loaders in src/modules must do that.');
    },
  },
});

builder.queryType({});
builder.mutationType({});
builder.subscriptionType({});
