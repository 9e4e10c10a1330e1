import {
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLSchema,
  getNamedType,
  isCompositeType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
  isUnionType,
  type OperationTypeNode,
} from 'graphql';
import { chance } from './random-resolvers.ts';

/** An operation with its variables. */
export interface RandomOperation {
  readonly document: string;
  readonly variables: Readonly<Record<string, unknown>>;
}

const LEAVES: Readonly<Record<string, unknown>> = {
  Int: 3,
  SafeInt: 4,
  Float: 1.5,
  Boolean: true,
  JSON: { a: [1] },
  DateTime: '2026-01-01T00:00:00.000Z',
};

/** Levels of objects below a root field. */
const MAX_DEPTH = 3;

/** A valid value of an input type. */
function inputValue(type: GraphQLInputType, depth: number): unknown {
  if (isNonNullType(type)) return inputValue(type.ofType, depth);
  if (isListType(type)) return [inputValue(type.ofType, depth)];
  if (isEnumType(type)) return type.getValues()[0]?.name;
  if (!isInputObjectType(type)) return LEAVES[type.name] ?? 'text';
  const fields = Object.values(type.getFields());
  const chosen = type.isOneOf ? fields.slice(0, 1) : fields.filter(field => isNonNullType(field.type) || depth > 0);
  return Object.fromEntries(chosen.map(field => [field.name, inputValue(field.type, depth - 1)]));
}

/** Writes one random operation of a schema: aliases, fragments, merged fields, @skip, @include and variables included. */
export function randomOperation(schema: GraphQLSchema, operation: OperationTypeNode, seed: number): RandomOperation {
  let step = 0;
  const roll = () => chance(seed, `step ${step++}`);
  const variables: Record<string, unknown> = {};
  const declarations = new Map<string, string>();
  const fragments: string[] = [];

  function directive(isRoot = false): string {
    const kind = roll();
    // graphql-js cannot validate a directive with a variable on the field of a subscription.
    if (kind < 0.85 || (isRoot && operation === 'subscription')) return '';
    const isYes = kind < 0.93;
    if (isYes) {
      declarations.set('yes', 'Boolean!');
      variables.yes = true;
    } else declarations.set('no', 'Boolean = false');
    return ` @${kind < 0.89 || kind > 0.96 ? 'skip' : 'include'}(if: $${isYes ? 'yes' : 'no'})`;
  }

  function argumentsOf(field: GraphQLField<unknown, unknown>): string {
    const given = field.args.flatMap(argument => {
      if (!isNonNullType(argument.type) && roll() < 0.6) return [];
      const name = `v${declarations.size}`;
      declarations.set(name, String(argument.type));
      variables[name] = inputValue(argument.type, 1);
      return [`${argument.name}: $${name}`];
    });
    return given.length === 0 ? '' : `(${given.join(', ')})`;
  }

  function fieldOf(field: GraphQLField<unknown, unknown>, depth: number): string {
    // Each use of a field with arguments has a name of its own: two uses with different arguments cannot be merged.
    const alias = field.args.length > 0 || roll() < 0.1 ? `${field.name}_${step}: ` : '';
    const type = getNamedType(field.type);
    const inner = isCompositeType(type) ? ` ${selectionOf(type, depth - 1)}` : '';
    return `${alias}${field.name}${argumentsOf(field)}${directive(depth === MAX_DEPTH)}${inner}`;
  }

  function selectionOf(type: GraphQLCompositeType, depth: number): string {
    const selections = ['__typename'];
    if (!isUnionType(type)) {
      for (const field of Object.values(type.getFields())) {
        const isDeep = isCompositeType(getNamedType(field.type));
        if ((isDeep && depth <= 0) || roll() < (isDeep ? 0.5 : 0.4)) continue;
        const text = fieldOf(field, depth);
        selections.push(text);
        // The same field twice is merged into one.
        if (roll() < 0.05 && !text.includes(':')) selections.push(text);
      }
    }
    if (!isObjectType(type)) {
      for (const possible of schema.getPossibleTypes(type)) {
        if (roll() < 0.5) continue;
        const fields = Object.values(possible.getFields()).filter(({ args }) => args.length === 0);
        const field = fields[Math.floor(roll() * fields.length)];
        const inner = field && getNamedType(field.type);
        if (field === undefined || (isCompositeType(inner) && depth <= 0)) continue;
        const selected = isCompositeType(inner)
          ? `{ ${field.name}_${step}: ${field.name} ${selectionOf(inner, depth - 1)} }`
          : `{ ${field.name}_${step}: ${field.name} }`;
        if (roll() < 0.5) selections.push(`... on ${possible.name}${directive()} ${selected}`);
        else {
          fragments.push(`fragment F${fragments.length}_ on ${possible.name} ${selected}`);
          selections.push(`...F${fragments.length - 1}_${directive()}`);
        }
      }
    }
    return `{ ${selections.join(' ')} }`;
  }

  const root = schema.getRootType(operation);
  if (!root) throw new Error(`The schema has no ${operation}.`);
  const fields = Object.values(root.getFields());
  const chosen = operation === 'query' ? fields.filter(() => roll() < 0.3) : [fields[Math.floor(roll() * fields.length)]];
  const body = chosen.flatMap(field => (field === undefined ? [] : [fieldOf(field, MAX_DEPTH)])).join(' ');
  const declared = [...declarations].map(([name, type]) => `$${name}: ${type}`).join(', ');
  const text = `${operation} ${declared === '' ? '' : `(${declared})`} { ${operation === 'query' ? '__typename ' : ''}${body} }`;
  return { document: [text, ...fragments].join('\n'), variables };
}
