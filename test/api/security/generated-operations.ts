import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLInputType,
  type GraphQLNamedType,
  type GraphQLOutputType,
  type GraphQLSchema,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  OperationTypeNode,
} from 'graphql';

/** A field of Query, Mutation or Subscription, and an operation that selects its subfields. */
export interface RootOperation {
  readonly type: OperationTypeNode;
  readonly field: string;
  readonly document: string;
}

/** Values for arguments and input fields: by name if listed, else by type. */
export interface Samples {
  /** GraphQL literals by the name of the argument or input field. */
  readonly byName: Readonly<Record<string, string>>;
  /** The value of all other strings. */
  readonly text: string;
}

const SCALARS: Readonly<Record<string, string>> = { Int: '1', Float: '1', SafeInt: '1', Boolean: 'false', JSON: '{}' };
const FUTURE = '"2999-01-01T00:00:00.000Z"';
/** How many levels of objects an operation selects below its root field. */
const DEPTH = 2;

function literal(name: string, type: GraphQLInputType, samples: Samples): string {
  if (isNonNullType(type)) return literal(name, type.ofType, samples);
  if (isListType(type)) return `[${literal(name, type.ofType, samples)}]`;
  const sample = samples.byName[name];
  if (sample !== undefined) return sample;
  if (isEnumType(type)) return type.getValues()[0]?.name ?? '';
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields());
    const fieldsWithValue = type.isOneOf ? fields.slice(0, 1) : fields.filter(field => hasValue(field, samples));
    return `{ ${fieldsWithValue.map(field => `${field.name}: ${literal(field.name, field.type, samples)}`).join(', ')} }`;
  }
  if (type.name === 'DateTime') return FUTURE;
  return SCALARS[type.name] ?? JSON.stringify(samples.text);
}

function hasValue({ name, type }: GraphQLArgument | GraphQLInputField, samples: Samples): boolean {
  return isNonNullType(type) || samples.byName[name] !== undefined;
}

function selection(schema: GraphQLSchema, output: GraphQLOutputType, depth: number): string {
  const type: GraphQLNamedType = getNamedType(output);
  if (isLeafType(type)) return '';
  if (!isObjectType(type) && !isInterfaceType(type)) throw new Error(`${type.name} has no fields.`);
  const fields = Object.values(type.getFields()).filter(field => field.args.every(argument => !isNonNullType(argument.type)));
  const selected = fields.flatMap(field => {
    if (isLeafType(getNamedType(field.type))) return [field.name];
    return depth === 0 ? [] : [`${field.name} ${selection(schema, field.type, depth - 1)}`];
  });
  const implementations = isInterfaceType(type) ? schema.getPossibleTypes(type) : [];
  const types = new Map(Object.values(type.getFields()).map(field => [field.name, String(field.type)]));
  const inlineFragments = implementations.map(each => {
    const scalars = Object.values(each.getFields()).filter(({ name, type: scalar, args }) => {
      if (!isLeafType(getNamedType(scalar)) || args.length > 0) return false;
      // Two fields of one name but different types cannot be selected together.
      const known = types.get(name) ?? String(scalar);
      types.set(name, known);
      return known === String(scalar);
    });
    return `... on ${each.name} { __typename ${scalars.map(field => field.name).join(' ')} }`;
  });
  return `{ __typename ${[...selected, ...inlineFragments].join(' ')} }`;
}

/** Returns one operation for every root field, with arguments from the samples. */
export function rootOperations(schema: GraphQLSchema, samples: Samples): readonly RootOperation[] {
  return Object.values(OperationTypeNode).flatMap(type =>
    Object.values(schema.getRootType(type)?.getFields() ?? {}).map(field => {
      const argumentsWithValue = field.args.filter(argument => hasValue(argument, samples));
      const args = argumentsWithValue.map(argument => `${argument.name}: ${literal(argument.name, argument.type, samples)}`).join(', ');
      const call = args === '' ? field.name : `${field.name}(${args})`;
      return { type, field: field.name, document: `${type} { ${call} ${selection(schema, field.type, DEPTH)} }` };
    }),
  );
}

/** Returns the calls of a field: one with its required arguments, and one more for each value of each enum argument. */
function callsOf(field: GraphQLField<unknown, unknown>, samples: Samples): readonly string[] {
  const write = (values: ReadonlyMap<string, string>) => {
    const args = [...values].map(([name, value]) => `${name}: ${value}`).join(', ');
    return args === '' ? field.name : `${field.name}(${args})`;
  };
  const needed = field.args.filter(argument => hasValue(argument, samples));
  const literals = new Map(needed.map(argument => [argument.name, literal(argument.name, argument.type, samples)]));
  const variants = field.args.flatMap(({ name, type }) => {
    const values = isEnumType(type) ? type.getValues().map(value => value.name) : [];
    return values.map(value => write(new Map([...literals, [name, value]])));
  });
  return [write(literals), ...variants];
}

/** Returns, for every field of every type with an id in `ids`, queries that select the field of `node(id)`. */
export function nodeFieldOperations(
  schema: GraphQLSchema,
  ids: Readonly<Record<string, string>>,
  samples: Samples,
): readonly { readonly type: string; readonly field: string; readonly document: string }[] {
  const node = schema.getType('Node');
  if (!isInterfaceType(node)) throw new Error('There is no interface Node.');
  return schema.getPossibleTypes(node).flatMap(type => {
    const id = ids[type.name];
    if (id === undefined) return [];
    return Object.values(type.getFields()).flatMap(field =>
      callsOf(field, samples).map(call => ({
        type: type.name,
        field: call,
        document: `{ node(id: "${id}") { id ... on ${type.name} { ${call} ${selection(schema, field.type, DEPTH)} } } }`,
      })),
    );
  });
}
