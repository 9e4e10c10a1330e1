import { vi } from 'vitest';
import type { ApiScope } from '../../../src/modules/viewer/viewer.rules.ts';
import type { TestApp } from '../../support/app.ts';
import { WAIT_OPTIONS } from '../../support/wait-time.ts';

/** The options of a key to create. */
interface KeyOptions {
  readonly scope: ApiScope;
  readonly agentIds?: readonly string[];
  readonly expiresAt?: Date;
  /** The secret of the ADMIN key that creates it. Omitted for a server's first key, or if authentication is off. */
  readonly by?: string;
  /** True if authentication is off (AUTH=off), so that the server stays open even with keys. */
  readonly open?: boolean;
}

/** An API key that a test created. */
export interface TestKey {
  /** Global id. */
  readonly id: string;
  readonly secret: string;
  /** Request headers that carry the key. */
  readonly headers: { readonly authorization: string };
}

/** Creates a key through the API. Resolves when the server requires authentication because it has keys. */
export async function makeKey(app: TestApp, { scope, by, open = false, ...input }: KeyOptions): Promise<TestKey> {
  const answer = await app.gql<{ createApiKey: { apiKey: { id: string }; secret: string } }>(
    /* GraphQL */ `mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { id } secret } }`,
    { input: { name: `${scope} ${input.agentIds?.join() ?? ''}`, scopes: [scope], ...input } },
    { headers: by === undefined ? {} : { authorization: `Bearer ${by}` } },
  );
  const { apiKey, secret } = answer.expectOk().createApiKey;
  if (!open) await vi.waitUntil(() => !app.app.isOpen(), WAIT_OPTIONS);
  return { id: apiKey.id, secret, headers: { authorization: `Bearer ${secret}` } };
}
