import {
  type ASTNode,
  type DocumentNode,
  GraphQLError,
  type GraphQLScalarType,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  isScalarType,
  isSpecifiedScalarType,
  Kind,
  TypeInfo,
  type ValueNode,
  visit,
  visitWithTypeInfo,
} from 'graphql';
import { DomainError } from '../../errors.ts';
import { shorten } from './variable-errors.ts';

/** Maximum locations of one error. A cycle of fragments has as many locations as fragments. */
const MAX_LOCATIONS = 10;

/** A value in the document, inside an argument. */
interface Literal {
  readonly node: ValueNode;
  /** Its path from the arguments, such as `input.tags.3`. */
  readonly field: string;
  /** The custom scalar that parses it; null for all other types. */
  readonly scalar: GraphQLScalarType | null;
}

function isValue(node: ASTNode): node is ValueNode {
  return [Kind.INT, Kind.FLOAT, Kind.STRING, Kind.BOOLEAN, Kind.NULL, Kind.ENUM, Kind.LIST, Kind.OBJECT, Kind.VARIABLE].includes(node.kind);
}

/** What a node adds to the path: a name or an index. Other values have the path of their argument or field. */
function pathStepOf(node: ASTNode, key: unknown): string | number | null {
  if (node.kind === Kind.ARGUMENT || node.kind === Kind.OBJECT_FIELD) return node.name.value;
  return typeof key === 'number' && isValue(node) ? key : null;
}

function findLiterals(schema: GraphQLSchema, document: DocumentNode): Literal[] {
  const literals: Literal[] = [];
  const path: (string | number)[] = [];
  const info = new TypeInfo(schema);
  visit(
    document,
    visitWithTypeInfo(info, {
      enter(node, key) {
        const step = pathStepOf(node, key);
        if (step !== null) path.push(step);
        if (!isValue(node) || path.length === 0) return;
        // Inside a list, TypeInfo gives the type of the items. A scalar that accepts lists is the type of the list itself.
        const declared = node.kind === Kind.LIST ? info.getParentInputType() : getNamedType(info.getInputType());
        const type = declared && getNullableType(declared);
        literals.push({ node, field: path.join('.'), scalar: isScalarType(type) && !isSpecifiedScalarType(type) ? type : null });
      },
      leave(node, key) {
        if (pathStepOf(node, key) !== null) path.pop();
      },
    }),
  );
  return literals;
}

/** Whether this scalar and literal cause the error. graphql-js gives no location if the scalar gave none. */
function isCausedBy(error: GraphQLError, { node, scalar }: Literal): boolean {
  try {
    scalar?.parseLiteral(node);
    return false;
  } catch (cause) {
    return cause instanceof Error && cause.message === error.message;
  }
}

function concerns(error: GraphQLError, literal: Literal): boolean {
  const location = error.nodes?.[0]?.loc;
  if (location === undefined) return error.nodes === undefined && isCausedBy(error, literal);
  return literal.node.loc?.start === location.start && literal.node.loc.end === location.end;
}

/**
 * The validation errors of a document with codes: GRAPHQL_VALIDATION_FAILED, or BAD_USER_INPUT for a literal that a custom scalar rejects, as
 * for the same value in a variable. If an error concerns a literal, `details.field` is its path.
 */
export function explainValidationErrors(schema: GraphQLSchema, document: DocumentNode, errors: readonly GraphQLError[]): GraphQLError[] {
  const literals = findLiterals(schema, document);
  return errors.map(error => {
    const cause = error.originalError;
    if (cause instanceof DomainError && cause.code !== 'BAD_USER_INPUT') return error;
    const literal = literals.find(candidate => concerns(error, candidate));
    const code =
      cause instanceof DomainError || (literal !== undefined && literal.scalar !== null) ? 'BAD_USER_INPUT' : 'GRAPHQL_VALIDATION_FAILED';
    const details = { ...(cause instanceof DomainError ? cause.details : {}), ...(literal === undefined ? {} : { field: literal.field }) };
    const failure = new DomainError(code, cause instanceof DomainError ? cause.message : shorten(error.message), details);
    return new GraphQLError(failure.message, { nodes: error.nodes?.slice(0, MAX_LOCATIONS) ?? literal?.node, originalError: failure });
  });
}
