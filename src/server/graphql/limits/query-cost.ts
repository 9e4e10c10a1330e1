import {
  type ArgumentNode,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  isCompositeType,
  isInputObjectType,
  isInterfaceType,
  isLeafType,
  isListType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  typeFromAST,
  type ValueNode,
  valueFromASTUntyped,
  visit,
} from 'graphql';

/** The `extensions` of a field that concern its cost. */
interface PageExtensions {
  /** For a field that returns a connection or another kind of page. */
  readonly pageSize?: { readonly default: number; readonly max: number };
  /** For a field of another kind of page: whether it contains the items or the total. */
  readonly pagePart?: 'ITEMS' | 'TOTAL';
}

const DEFAULT_PAGE = { default: 20, max: 100 };
const TOTAL_COUNT = 10;
const SEARCH = 50;

/** Upper bound of costs. Without it, nested fragments could multiply to Infinity, and Infinity x 0 is NaN. */
const CEILING = 1e15;

const sum = (a: number, b: number) => Math.min(a + b, CEILING);
const times = (a: number, b: number) => Math.min(a * b, CEILING);

/** The cost of a selection set: what each item of the surrounding page costs, and what is paid once. */
interface Cost {
  readonly perItem: number;
  readonly once: number;
}

const FREE: Cost = { perItem: 0, once: 0 };

function isConnection(type: unknown): boolean {
  return isObjectType(type) && type.name.endsWith('Connection') && 'pageInfo' in type.getFields();
}

function pageOf(field: GraphQLField<unknown, unknown>): PageExtensions {
  return field.extensions as PageExtensions;
}

function isEdge(type: unknown): boolean {
  return isObjectType(type) && type.name.endsWith('Edge') && 'node' in type.getFields();
}

/**
 * The cost of `search` in an argument and in its input objects at any depth. Inside `or` and `not` it costs twice as much, because an index
 * alone cannot serve it. Custom data, such as `metadata`, is ignored.
 */
function searchCost(name: string, value: unknown, type: GraphQLInputType, factor = 1): number {
  if (value === null || value === undefined) return 0;
  if (Array.isArray(value)) return value.reduce<number>((cost, item) => sum(cost, searchCost(name, item, type, factor)), 0);
  const named = getNamedType(type);
  if (name === 'search' && isLeafType(named)) return SEARCH * factor;
  if (!isInputObjectType(named) || typeof value !== 'object') return 0;
  const inside = name === 'or' || name === 'not' ? 2 : factor;
  const fields = named.getFields();
  return Object.entries(value).reduce((cost, [key, inner]) => {
    const field = fields[key];
    return field === undefined ? cost : sum(cost, searchCost(key, inner, field.type, inside));
  }, 0);
}

/** Whether values of a type can contain a `search`, at any depth. */
function canSearch(name: string, type: GraphQLInputType, seen = new Set<GraphQLNamedType>()): boolean {
  const named = getNamedType(type);
  if (!isInputObjectType(named)) return name === 'search';
  if (seen.has(named)) return false;
  seen.add(named);
  return Object.values(named.getFields()).some(field => canSearch(field.name, field.type, seen));
}

class CostMeter {
  /** The variables on which the cost may depend. */
  readonly usedVariables = new Set<string>();
  readonly #schema: GraphQLSchema;
  readonly #variables: Readonly<Record<string, unknown>>;
  readonly #fragments = new Map<string, FragmentDefinitionNode>();
  readonly #measured = new Map<string, Cost>();

  constructor(schema: GraphQLSchema, document: DocumentNode, variables: Readonly<Record<string, unknown>>) {
    this.#schema = schema;
    this.#variables = variables;
    for (const node of document.definitions) if (node.kind === Kind.FRAGMENT_DEFINITION) this.#fragments.set(node.name.value, node);
  }

  ofOperation(operation: OperationDefinitionNode): number {
    const root = this.#schema.getRootType(operation.operation);
    return root ? sum(1, this.#ofSet(operation.selectionSet, root).once) : 1;
  }

  #ofSet(set: SelectionSetNode, parent: GraphQLCompositeType): Cost {
    let perItem = 0;
    let once = 0;
    for (const selection of set.selections) {
      let cost = FREE;
      if (selection.kind === Kind.FIELD) cost = this.#ofField(selection, parent);
      else if (selection.kind === Kind.FRAGMENT_SPREAD) cost = this.#ofFragment(selection.name.value);
      else {
        const type = selection.typeCondition ? typeFromAST(this.#schema, selection.typeCondition) : parent;
        if (isCompositeType(type)) cost = this.#ofSet(selection.selectionSet, type);
      }
      perItem = sum(perItem, cost.perItem);
      once = sum(once, cost.once);
    }
    return { perItem, once };
  }

  #ofFragment(name: string): Cost {
    const fragment = this.#fragments.get(name);
    const type = fragment && typeFromAST(this.#schema, fragment.typeCondition);
    if (fragment === undefined || !isCompositeType(type)) return FREE;
    const known = this.#measured.get(name);
    if (known !== undefined) return known;
    this.#measured.set(name, FREE);
    const cost = this.#ofSet(fragment.selectionSet, type);
    this.#measured.set(name, cost);
    return cost;
  }

  #ofField(node: FieldNode, parent: GraphQLCompositeType): Cost {
    const name = node.name.value;
    const field = isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[name] : undefined;
    // Introspection: no type lists `__schema` and `__type` among its fields.
    if (field === undefined) return FREE;
    const type = getNamedType(field.type);
    const { pageSize, pagePart } = pageOf(field);
    if (isLeafType(type)) {
      const isTotal = pagePart === 'TOTAL' || (isConnection(parent) && name === 'totalCount');
      return isTotal ? { perItem: 0, once: TOTAL_COUNT } : FREE;
    }
    const inner = node.selectionSet && isCompositeType(type) ? this.#ofSet(node.selectionSet, type) : FREE;
    if (isConnection(parent)) return name === 'pageInfo' ? FREE : { perItem: sum(inner.perItem, inner.once), once: 0 };
    if (isEdge(parent) && name === 'node') return inner;
    if (pagePart === 'ITEMS') return { perItem: sum(1, sum(inner.perItem, inner.once)), once: 0 };
    const search = this.#searchOf(node, field);
    if (!isConnection(type) && pageSize === undefined)
      return { perItem: 0, once: sum(search, times(this.#lengthOf(node, field), sum(1, inner.once))) };
    // A connection costs only its items. Another kind of page costs 1, and its extensions say which of its fields contain the items.
    const [page, item] = isConnection(type) ? [0, 1] : [1, 0];
    const once = sum(page, sum(search, inner.once));
    return { perItem: 0, once: sum(once, times(this.#pageSizeOf(node, field), sum(item, inner.perItem))) };
  }

  /** The page size, at most the maximum. The field itself rejects larger sizes, with a better error. */
  #pageSizeOf(node: FieldNode, field: GraphQLField<unknown, unknown>): number {
    const page = pageOf(field).pageSize ?? DEFAULT_PAGE;
    const sizes = ['first', 'last'].map(name => this.#argument(node, name)).filter(size => typeof size === 'number');
    return sizes.length === 0 ? page.default : Math.min(page.max, Math.max(0, ...sizes));
  }

  /** The length of a list with a list argument, such as `nodes(ids:)`, is the argument's. The length of other lists is unknown and counts as 1. */
  #lengthOf(node: FieldNode, field: GraphQLField<unknown, unknown>): number {
    if (!isListType(getNullableType(field.type))) return 1;
    const keys = field.args.find(argument => isListType(getNullableType(argument.type)));
    const value = keys && this.#argument(node, keys.name);
    return Array.isArray(value) ? value.length : 1;
  }

  #searchOf(node: FieldNode, field: GraphQLField<unknown, unknown>): number {
    const base = field.name === 'searchMessages' ? SEARCH : 0;
    return (node.arguments ?? []).reduce((cost, { name, value }) => {
      const argument = field.args.find(known => known.name === name.value);
      if (argument === undefined || !canSearch(argument.name, argument.type)) return cost;
      return sum(cost, searchCost(argument.name, this.#value(value), argument.type));
    }, base);
  }

  #argument(node: FieldNode, name: string): unknown {
    const argument: ArgumentNode | undefined = node.arguments?.find(given => given.name.value === name);
    return argument && this.#value(argument.value);
  }

  #value(node: ValueNode): unknown {
    visit(node, { Variable: ({ name }) => void this.usedVariables.add(name.value) });
    return valueFromASTUntyped(node, this.#variables);
  }
}

/** The last measured cost of an operation, with the variables on which it depends. */
interface MeasuredCost {
  readonly cost: number;
  readonly variables: readonly { readonly name: string; readonly value: unknown }[];
}

/** Most requests for an operation have the same page sizes as the one before. */
const lastMeasured = new WeakMap<OperationDefinitionNode, MeasuredCost>();

/**
 * The cost of an operation of a valid document: 1, plus 1 for each object, page size x (1 + cost of its node) for each connection, 10 for
 * `totalCount`, 50 for a search, and nothing for scalars. It is an upper bound: a field that is selected twice counts twice, and @skip and
 * @include are ignored. Takes time linear in the document.
 * @param variables as sent; the operation's defaults apply to missing ones
 */
export function measureCost(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
  variables: Readonly<Record<string, unknown>>,
): number {
  const known = lastMeasured.get(operation);
  if (known?.variables.every(({ name, value }) => variables[name] === value)) return known.cost;
  const withDefaults: Record<string, unknown> = {};
  for (const { variable, defaultValue } of operation.variableDefinitions ?? []) {
    const name = variable.name.value;
    withDefaults[name] = Object.hasOwn(variables, name) || defaultValue === undefined ? variables[name] : valueFromASTUntyped(defaultValue);
  }
  const meter = new CostMeter(schema, document, withDefaults);
  const cost = meter.ofOperation(operation);
  const used = [...meter.usedVariables].map(name => ({ name, value: variables[name] }));
  // Objects are never equal to those of the next request, and would be kept in memory.
  if (used.every(({ value }) => typeof value !== 'object' || value === null)) lastMeasured.set(operation, { cost, variables: used });
  return cost;
}
