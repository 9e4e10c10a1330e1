import { type GraphQLSchema, isEnumType, lexicographicSortSchema, printSchema, printType } from 'graphql';

/**
 * The schema as SDL. Types, fields and arguments are sorted by name, so that a new one changes one place. The values of an enum keep the order
 * in which they are declared, which can have a meaning.
 */
export function printSortedSchema(schema: GraphQLSchema): string {
  const sorted = lexicographicSortSchema(schema);
  let text = printSchema(sorted);
  for (const type of Object.values(sorted.getTypeMap())) {
    const declared = schema.getType(type.name);
    if (isEnumType(type) && isEnumType(declared)) text = text.replace(printType(type), () => printType(declared));
  }
  return text;
}
