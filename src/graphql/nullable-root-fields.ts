import SchemaBuilder, { BasePlugin, type PothosOutputFieldConfig, type SchemaTypes } from '@pothos/core';

/** The plugin's name, for `plugins` of the builder. */
export const NULLABLE_ROOT_FIELDS = 'nullableRootFields';

declare global {
  export namespace PothosSchemaTypes {
    export interface Plugins<Types extends SchemaTypes> {
      [NULLABLE_ROOT_FIELDS]: NullableRootFields<Types>;
    }
  }
}

/**
 * Makes every field of Query and Mutation nullable. With a non-null field, an error in one field would remove the data of all other fields
 * of the operation. The field of a subscription stays as declared: each of its events is a response of its own.
 */
class NullableRootFields<Types extends SchemaTypes> extends BasePlugin<Types> {
  override onOutputFieldConfig(field: PothosOutputFieldConfig<Types>): PothosOutputFieldConfig<Types> {
    if (field.graphqlKind !== 'Object' || (field.kind !== 'Query' && field.kind !== 'Mutation')) return field;
    return { ...field, type: { ...field.type, nullable: true } };
  }
}

SchemaBuilder.registerPlugin(NULLABLE_ROOT_FIELDS, NullableRootFields);
