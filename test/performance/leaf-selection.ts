import { type GraphQLSchema, getNamedType, getNullableType, isLeafType, isListType, isObjectType } from 'graphql';

/**
 * The selection of all that belongs to a type's own row: its scalars, and objects made of nothing but scalars.
 * Taken from the schema, so that fields to come are asked for too.
 */
export function leafSelection(schema: GraphQLSchema, typeName: string): string {
  const type = schema.getType(typeName);
  if (!isObjectType(type)) throw new Error(`There is no object type ${typeName}.`);
  const fields = Object.values(type.getFields()).flatMap(field => {
    const inner = getNamedType(field.type);
    if (isLeafType(inner)) return [field.name];
    if (!isObjectType(inner) || isListType(getNullableType(field.type))) return [];
    const parts = Object.values(inner.getFields());
    return parts.every(part => isLeafType(getNamedType(part.type))) ? [`${field.name} { ${parts.map(part => part.name).join(' ')} }`] : [];
  });
  return fields.join(' ');
}
