import { type DocumentNode, type FragmentDefinitionNode, Kind, type OperationDefinitionNode, type SelectionSetNode } from 'graphql';
import { type RateCharge, type RateClass, rateClassOf } from '../../modules/rate-limit/rate-limit.rules.ts';

/** The fields of a mutation by their names in the answer; what a fragment brings a second time is run once. */
function fieldsOf(document: DocumentNode, operation: OperationDefinitionNode): ReadonlyMap<string, string> {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const node of document.definitions) if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node);
  const fields = new Map<string, string>();
  const collect = ({ selections }: SelectionSetNode): void => {
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) fields.set((selection.alias ?? selection.name).value, selection.name.value);
      else if (selection.kind === Kind.INLINE_FRAGMENT) collect(selection.selectionSet);
      else {
        const fragment = fragments.get(selection.name.value);
        fragments.delete(selection.name.value);
        if (fragment !== undefined) collect(fragment.selectionSet);
      }
    }
  };
  collect(operation.selectionSet);
  return fields;
}

/** What an operation of a valid document counts: a query or a subscribe one request, a mutation each of its fields once in its class. */
export function rateChargeOf(document: DocumentNode, operation: OperationDefinitionNode): RateCharge {
  if (operation.operation !== 'mutation') return { requests: 1 };
  const charge: Partial<Record<RateClass, number>> = {};
  for (const field of fieldsOf(document, operation).values()) {
    const name = rateClassOf(field);
    charge[name] = (charge[name] ?? 0) + 1;
  }
  return charge;
}
