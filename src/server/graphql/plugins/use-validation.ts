import { NoSchemaIntrospectionCustomRule, validate } from 'graphql';
import type { Plugin } from 'graphql-yoga';

/**
 * Validates documents, and reports at most `maxErrors` errors.
 * @param options.introspection if false, `__schema` and `__type` are GRAPHQL_VALIDATION_FAILED, and messages suggest no names from the schema
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
