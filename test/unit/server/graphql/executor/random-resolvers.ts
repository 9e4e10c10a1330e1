import {
  type GraphQLObjectType,
  type GraphQLOutputType,
  type GraphQLSchema,
  isEnumType,
  isInterfaceType,
  isListType,
  isNonNullType,
  isObjectType,
  isUnionType,
} from 'graphql';

/** How often resolvers fail, return null or an invalid value, and return promises: from 0 to 1. */
export interface Odds {
  readonly fault: number;
  readonly promise: number;
}

/** A source object. What its fields return depends on its seed alone, so two executions get the same values. */
interface Source {
  readonly seed: number;
  /** The object's type, for abstract types. */
  readonly type: string;
}

/** A number from 0 to 1 that depends on its arguments alone. */
export function chance(seed: number, label: string): number {
  let hash = seed ^ 0x9e3779b9;
  for (const letter of label) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x85ebca6b) ^ (hash >>> 13);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

function seedFrom(seed: number, label: string): number {
  return Math.floor(chance(seed, label) * 2 ** 31);
}

function leafValue(name: string, seed: number): unknown {
  if (name === 'Int' || name === 'SafeInt') return Math.floor(chance(seed, 'int') * 1000);
  if (name === 'Float') return chance(seed, 'float');
  if (name === 'Boolean') return chance(seed, 'boolean') < 0.5;
  if (name === 'DateTime') return new Date(Math.floor(chance(seed, 'time') * 1e12));
  if (name === 'JSON') return { text: `"${seed}"`, list: [seed, null, true] };
  return `text ${seed} "quoted" é`;
}

function presentValue(schema: GraphQLSchema, type: GraphQLOutputType, seed: number, odds: Odds): unknown {
  if (isListType(type)) {
    const length = Math.floor(chance(seed, 'length') * 4);
    return Array.from({ length }, (_, index) =>
      maybePromise(seed, `item ${index}`, odds, () => value(schema, type.ofType, seedFrom(seed, `${index}`), odds)),
    );
  }
  if (isEnumType(type)) {
    const values = type.getValues();
    return values[Math.floor(chance(seed, 'enum') * values.length)]?.value;
  }
  if (isObjectType(type)) return { seed, type: type.name } satisfies Source;
  if (isInterfaceType(type) || isUnionType(type)) {
    const types = schema.getPossibleTypes(type);
    return { seed, type: types[Math.floor(chance(seed, 'type') * types.length)]?.name ?? '' } satisfies Source;
  }
  return leafValue(String(type), seed);
}

/** A value of a type: null, an error, or an invalid value now and then. @throws Error now and then */
function value(schema: GraphQLSchema, type: GraphQLOutputType, seed: number, odds: Odds): unknown {
  const fault = chance(seed, 'fault') / (isNonNullType(type) ? 0.3 : 1);
  if (fault < odds.fault * 0.4) return null;
  if (fault < odds.fault * 0.6) throw new Error(`resolver ${seed} failed`);
  if (fault < odds.fault * 0.8) return new Error(`resolver ${seed} returned an error`);
  if (fault < odds.fault) return Symbol.for('a value of no type');
  return presentValue(schema, isNonNullType(type) ? type.ofType : type, seed, odds);
}

function maybePromise(seed: number, label: string, odds: Odds, make: () => unknown): unknown {
  if (chance(seed, `promise ${label}`) >= odds.promise) return make();
  const rounds = Math.floor(chance(seed, `rounds ${label}`) * 3);
  return (async () => {
    for (let round = 0; round < rounds; round += 1) await null;
    return make();
  })();
}

function setResolvers(schema: GraphQLSchema, type: GraphQLObjectType, odds: Odds): void {
  for (const field of Object.values(type.getFields())) {
    const resolved = ({ seed }: Source, label: string) => {
      const own = seedFrom(seed, label);
      return maybePromise(own, 'field', odds, () => value(schema, field.type, own, odds));
    };
    // Resolvers that declare only their source are called without the rest.
    field.resolve =
      field.args.length === 0
        ? (source: Source) => resolved(source, `${type.name}.${field.name}`)
        : (source: Source, args: object, context: { calls: string[] }, info) => {
            const call = JSON.stringify([type.name, info.fieldName, info.path.key, args, String(info.returnType)]);
            context.calls.push(call);
            return resolved(source, call);
          };
  }
}

/** Replaces all resolvers of a schema by ones that return random values. Fields with arguments add their calls to `calls` of the context. */
export function useRandomResolvers(schema: GraphQLSchema, odds: Odds): void {
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__')) continue;
    if (isObjectType(type)) setResolvers(schema, type, odds);
    if (isInterfaceType(type) || isUnionType(type)) {
      type.resolveType = ({ type: name, seed }: Source) => (chance(seed, 'slow type') < odds.promise ? Promise.resolve(name) : name);
    }
  }
}
