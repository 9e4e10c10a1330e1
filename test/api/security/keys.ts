import type { ApiScope } from '../../../src/modules/viewer/viewer.rules.ts';
import type { TestApp } from '../../support/app.ts';

/** What a test's key may do. */
interface KeyOptions {
  readonly scope: ApiScope;
  readonly agentIds?: readonly string[];
  readonly expiresAt?: Date;
  /** The key that creates it; none while authentication is off. */
  readonly by?: string;
}

/** A key made through the API. */
export interface TestKey {
  /** Global id. */
  readonly id: string;
  readonly secret: string;
  /** As requests carry it. */
  readonly headers: { readonly authorization: string };
}

/** Creates a key through the API. */
export async function makeKey(app: TestApp, { scope, by, ...input }: KeyOptions): Promise<TestKey> {
  const answer = await app.gql<{ createApiKey: { apiKey: { id: string }; secret: string } }>(
    /* GraphQL */ `mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { id } secret } }`,
    { input: { name: `${scope} ${input.agentIds?.join() ?? ''}`, scopes: [scope], ...input } },
    { headers: by === undefined ? {} : { authorization: `Bearer ${by}` } },
  );
  const { apiKey, secret } = answer.expectOk().createApiKey;
  return { id: apiKey.id, secret, headers: { authorization: `Bearer ${secret}` } };
}
