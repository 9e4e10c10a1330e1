import { type DocumentNode, type FragmentDefinitionNode, Kind, type OperationDefinitionNode, type SelectionSetNode } from 'graphql';
import { type RateCharge, type RateClass, rateClassOf } from '../../modules/rate-limit/rate-limit.rules.ts';

/** The root fields of a mutation, by response name. A field that is selected several times under one name runs once. */
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

/** The units an operation of a valid document uses: a query or subscription one request, a mutation one unit of each root field's class. */
export function rateChargeOf(document: DocumentNode, operation: OperationDefinitionNode): RateCharge {
  if (operation.operation !== 'mutation') return { requests: 1 };
  const charge: Partial<Record<RateClass, number>> = {};
  for (const field of fieldsOf(document, operation).values()) {
    const name = rateClassOf(field);
    charge[name] = (charge[name] ?? 0) + 1;
  }
  return charge;
}
