import { vi } from 'vitest';
import type { ApiScope } from '../../../src/modules/viewer/viewer.rules.ts';
import type { TestApp } from '../../support/app.ts';
import { WAIT_OPTIONS } from '../../support/wait-time.ts';

/** What a test's key may do. */
interface KeyOptions {
  readonly scope: ApiScope;
  readonly agentIds?: readonly string[];
  readonly expiresAt?: Date;
  /** The key that creates it; none for the first one of a server, or one without authentication. */
  readonly by?: string;
  /** Whether the server stays open to everyone, keys or no keys. */
  readonly open?: boolean;
}

/** A key made through the API. */
export interface TestKey {
  /** Global id. */
  readonly id: string;
  readonly secret: string;
  /** As requests carry it. */
  readonly headers: { readonly authorization: string };
}

/** Creates a key through the API; once it resolves, the server knows that there are keys. */
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
