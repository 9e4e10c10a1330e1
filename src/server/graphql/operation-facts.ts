import {
  type DocumentNode,
  type GraphQLInputType,
  type GraphQLSchema,
  getOperationAST,
  isInputType,
  type OperationDefinitionNode,
  typeFromAST,
} from 'graphql';
import type { RateCharge } from '../../modules/rate-limit/rate-limit.rules.ts';
import { rateChargeOf } from '../auth/rate-charge.ts';

/** What an operation of a valid document has in all its executions. */
export interface OperationFacts {
  readonly node: OperationDefinitionNode;
  /** Null if the operation has no name. */
  readonly name: string | null;
  readonly charge: RateCharge;
  /** The types of the declared variables, by name. */
  readonly variableTypes: ReadonlyMap<string, GraphQLInputType>;
}

function variableTypesOf(schema: GraphQLSchema, operation: OperationDefinitionNode): ReadonlyMap<string, GraphQLInputType> {
  const types = new Map<string, GraphQLInputType>();
  for (const { variable, type: node } of operation.variableDefinitions ?? []) {
    const type = typeFromAST(schema, node);
    if (isInputType(type)) types.set(variable.name.value, type);
  }
  return types;
}

/** By the name of the operation; the empty name stands for the only operation of a document. */
const known = new WeakMap<DocumentNode, Map<string, OperationFacts>>();

/** The facts of an operation, found out once for each document. Null if the document has no such operation. */
export function factsOf(schema: GraphQLSchema, document: DocumentNode, operationName?: string | null): OperationFacts | null {
  const byName = known.get(document) ?? new Map<string, OperationFacts>();
  known.set(document, byName);
  const key = operationName ?? '';
  const found = byName.get(key);
  if (found !== undefined) return found;
  const node = getOperationAST(document, operationName);
  if (!node) return null;
  const facts = {
    node,
    name: node.name?.value ?? null,
    charge: rateChargeOf(document, node),
    variableTypes: variableTypesOf(schema, node),
  };
  byName.set(key, facts);
  return facts;
}
