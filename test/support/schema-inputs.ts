import type { TestApp } from './app.ts';

const INPUTS = /* GraphQL */ `
  {
    __schema {
      mutationType { fields { name args { type { ofType { inputFields { name } } } } } }
    }
  }
`;

interface Inputs {
  readonly __schema: {
    readonly mutationType: {
      readonly fields: readonly {
        readonly name: string;
        readonly args: readonly { readonly type: { readonly ofType: { readonly inputFields: readonly { readonly name: string }[] } } }[];
      }[];
    };
  };
}

/** The names of the schema's mutations whose input has a field of this name, sorted. */
export async function mutationsWithInputField(app: TestApp, field: string): Promise<string[]> {
  const { fields } = (await app.gql<Inputs>(INPUTS)).expectOk().__schema.mutationType;
  const hasField = ({ args }: (typeof fields)[number]) =>
    args.some(({ type }) => type.ofType.inputFields.some(({ name }) => name === field));
  return fields
    .filter(hasField)
    .map(({ name }) => name)
    .sort();
}
