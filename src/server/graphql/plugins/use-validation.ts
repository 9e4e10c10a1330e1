import { NoSchemaIntrospectionCustomRule, validate } from 'graphql';
import type { Plugin } from 'graphql-yoga';

/**
 * Validates documents, telling no more than so many faults.
 * @param options.introspection false: `__schema` and `__type` are GRAPHQL_VALIDATION_FAILED, and no message suggests a name of the schema
 */
export function useValidation({ introspection, maxErrors = 20 }: { introspection: boolean; maxErrors?: number }): Plugin {
  const options = { maxErrors, hideSuggestions: !introspection };
  return {
    onValidate({ addValidationRule, setValidationFn }) {
      if (!introspection) addValidationRule(NoSchemaIntrospectionCustomRule);
      setValidationFn((schema, document, rules, typeInfo) => validate(schema, document, rules, options, typeInfo));
    },
  };
}
