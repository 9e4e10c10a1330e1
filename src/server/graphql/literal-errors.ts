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

/** Places one error names; a circle of fragments has as many as it has fragments. */
const MAX_PLACES = 10;

/** A value written into the document, within an argument. */
interface Literal {
  readonly node: ValueNode;
  /** As the caller wrote it, such as `input.tags.3`. */
  readonly field: string;
  /** The scalar it is for, where that is one of our own. */
  readonly scalar: GraphQLScalarType | null;
}

function isValue(node: ASTNode): node is ValueNode {
  return [Kind.INT, Kind.FLOAT, Kind.STRING, Kind.BOOLEAN, Kind.NULL, Kind.ENUM, Kind.LIST, Kind.OBJECT, Kind.VARIABLE].includes(node.kind);
}

/** Names and indexes lead to a value; a value without a step of its own stands where its argument or field does. */
function stepTo(node: ASTNode, key: unknown): string | number | null {
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
        const step = stepTo(node, key);
        if (step !== null) path.push(step);
        if (!isValue(node) || path.length === 0) return;
        // TypeInfo enters a list with the type of its items; a scalar that takes lists is the list's own.
        const whole = node.kind === Kind.LIST ? info.getParentInputType() : getNamedType(info.getInputType());
        const type = whole && getNullableType(whole);
        literals.push({ node, field: path.join('.'), scalar: isScalarType(type) && !isSpecifiedScalarType(type) ? type : null });
      },
      leave(node, key) {
        if (stepTo(node, key) !== null) path.pop();
      },
    }),
  );
  return literals;
}

/** graphql-js does not say where, if the scalar did not. */
function isRefusedBy(error: GraphQLError, { node, scalar }: Literal): boolean {
  try {
    scalar?.parseLiteral(node);
    return false;
  } catch (refusal) {
    return refusal instanceof Error && refusal.message === error.message;
  }
}

function isAbout(error: GraphQLError, literal: Literal): boolean {
  const place = error.nodes?.[0]?.loc;
  if (place === undefined) return error.nodes === undefined && isRefusedBy(error, literal);
  return literal.node.loc?.start === place.start && literal.node.loc.end === place.end;
}

/**
 * The faults of a document in our terms: GRAPHQL_VALIDATION_FAILED, but BAD_USER_INPUT for a literal that one of our own scalars
 * refuses, as for the same value in a variable. `details.field` is the literal's path where a fault is about one.
 */
export function explainValidationErrors(schema: GraphQLSchema, document: DocumentNode, errors: readonly GraphQLError[]): GraphQLError[] {
  const literals = findLiterals(schema, document);
  return errors.map(error => {
    const cause = error.originalError;
    if (cause instanceof DomainError && cause.code !== 'BAD_USER_INPUT') return error;
    const literal = literals.find(candidate => isAbout(error, candidate));
    const code =
      cause instanceof DomainError || (literal !== undefined && literal.scalar !== null) ? 'BAD_USER_INPUT' : 'GRAPHQL_VALIDATION_FAILED';
    const details = { ...(cause instanceof DomainError ? cause.details : {}), ...(literal === undefined ? {} : { field: literal.field }) };
    const failure = new DomainError(code, cause instanceof DomainError ? cause.message : shorten(error.message), details);
    return new GraphQLError(failure.message, { nodes: error.nodes?.slice(0, MAX_PLACES) ?? literal?.node, originalError: failure });
  });
}
