import {
  type ASTNode,
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  visit,
} from 'graphql';
import { DomainError } from '../../../errors.ts';

/** Maximum nesting of lists and objects in an argument or variable. Real inputs and JSON are flatter, and the stack can hold far more. */
export const MAX_VALUE_DEPTH = 250;

/** Limits of a document's shape, independent of the schema. */
export interface ShapeLimits {
  /** Nesting of fields. Fragments add no level. */
  readonly maxDepth: number;
  /** Aliases in the document. */
  readonly maxAliases: number;
  /** Fields, fragment spreads and inline fragments in one selection set. */
  readonly maxBreadth: number;
  /** Directives of one node. */
  readonly maxDirectives: number;
  /** Nesting of lists and objects in an argument. */
  readonly maxValueDepth: number;
}

function shapeError(code: 'QUERY_TOO_DEEP' | 'QUERY_TOO_COMPLEX', problem: string, limit: number): GraphQLError {
  const failure = new DomainError(code, `The query ${problem}; at most ${limit} are allowed.`, { limit });
  return new GraphQLError(failure.message, { originalError: failure });
}

/** QUERY_TOO_DEEP for a document that cannot be parsed. */
export function tooDeep(): GraphQLError {
  const failure = new DomainError('QUERY_TOO_DEEP', 'The query is nested too deeply.');
  return new GraphQLError(failure.message, { originalError: failure });
}

/** Measures each fragment once, so time is linear. A fragment that spreads itself counts as zero there; validation rejects it. */
function createDepthMeter(document: DocumentNode): (operation: OperationDefinitionNode) => number {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const node of document.definitions) if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node);
  const measured = new Map<string, number>();

  function depthOfFragment(name: string): number {
    const known = measured.get(name);
    const fragment = fragments.get(name);
    if (known !== undefined || fragment === undefined) return known ?? 0;
    measured.set(name, 0);
    const depth = depthOf(fragment.selectionSet);
    measured.set(name, depth);
    return depth;
  }

  function depthOf(set: SelectionSetNode): number {
    let deepest = 0;
    for (const selection of set.selections) {
      if (selection.kind === Kind.FIELD) deepest = Math.max(deepest, 1 + (selection.selectionSet ? depthOf(selection.selectionSet) : 0));
      else if (selection.kind === Kind.INLINE_FRAGMENT) deepest = Math.max(deepest, depthOf(selection.selectionSet));
      else deepest = Math.max(deepest, depthOfFragment(selection.name.value));
    }
    return deepest;
  }

  return operation => depthOf(operation.selectionSet);
}

function isNesting({ kind }: ASTNode): boolean {
  return kind === Kind.LIST || kind === Kind.OBJECT;
}

/** QUERY_TOO_DEEP or QUERY_TOO_COMPLEX if the document exceeds a limit, otherwise null. The document need not be valid. */
export function findShapeError(document: DocumentNode, limits: ShapeLimits): GraphQLError | null {
  let aliases = 0;
  let broadest = 0;
  let mostDirectives = 0;
  let valueDepth = 0;
  let deepestValue = 0;
  visit(document, {
    SelectionSet: node => {
      broadest = Math.max(broadest, node.selections.length);
    },
    enter: node => {
      if (node.kind === Kind.FIELD && node.alias !== undefined) aliases += 1;
      if ('directives' in node && node.directives !== undefined) mostDirectives = Math.max(mostDirectives, node.directives.length);
      if (isNesting(node)) {
        valueDepth += 1;
        deepestValue = Math.max(deepestValue, valueDepth);
      }
    },
    leave: node => {
      if (isNesting(node)) valueDepth -= 1;
    },
  });
  if (aliases > limits.maxAliases) return shapeError('QUERY_TOO_COMPLEX', `has ${aliases} aliases`, limits.maxAliases);
  if (broadest > limits.maxBreadth)
    return shapeError('QUERY_TOO_COMPLEX', `has ${broadest} fields in one selection set`, limits.maxBreadth);
  if (mostDirectives > limits.maxDirectives)
    return shapeError('QUERY_TOO_COMPLEX', `has ${mostDirectives} directives in one place`, limits.maxDirectives);
  if (deepestValue > limits.maxValueDepth)
    return shapeError('QUERY_TOO_DEEP', `has values nested ${deepestValue} levels deep`, limits.maxValueDepth);
  const depthOf = createDepthMeter(document);
  for (const node of document.definitions) {
    const depth = node.kind === Kind.OPERATION_DEFINITION ? depthOf(node) : 0;
    if (depth > limits.maxDepth) return shapeError('QUERY_TOO_DEEP', `has fields nested ${depth} levels deep`, limits.maxDepth);
  }
  return null;
}
