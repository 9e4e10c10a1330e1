import { type GraphQLSchema, getNamedType, getNullableType, isLeafType, isListType, isObjectType } from 'graphql';

/**
 * Returns a selection of all scalars of a type and of its objects that contain only scalars. These come from the type's own table row.
 * It is generated from the schema, so that it includes new fields.
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
