import SchemaBuilder from '@pothos/core';
import PrismaPlugin from '@pothos/plugin-prisma';
import type { Context } from '../context.ts';
import type PrismaTypes from '../generated/pothos-prisma-types.ts';
import { getDatamodel } from '../generated/pothos-prisma-types.ts';
import type { MessageRow } from '../modules/message/message.loader.ts';
import type { SessionRow } from '../modules/session/session.loader.ts';

/** The generated types, with the rows our loaders give in place of Prisma's own. */
interface LoadedTypes extends Omit<PrismaTypes, 'Session' | 'Message'> {
  Session: Omit<PrismaTypes['Session'], 'Shape'> & { Shape: SessionRow };
  Message: Omit<PrismaTypes['Message'], 'Shape'> & { Shape: MessageRow };
}

/** Types of the schema that this builder knows; every module's schema file adds to it as it is imported. */
export interface BuilderTypes {
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

/** The one schema builder; plugins are named nowhere else. */
export const builder = new SchemaBuilder<BuilderTypes>({
  plugins: [PrismaPlugin],
  defaultFieldNullability: false,
  prisma: {
    dmmf: getDatamodel(),
    // Rows come from our own loaders; a field that made the plugin load one would be a fault, and is told at once.
    client: () => {
      throw new Error('Rows are loaded by the loaders of src/modules, never by the Prisma plugin.');
    },
  },
});

builder.queryType({});
builder.mutationType({});
builder.subscriptionType({});
