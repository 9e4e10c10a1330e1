import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { TestApp } from '../../support/app.ts';
import { mutationsWithInputField } from '../../support/schema-inputs.ts';
import { useMutationApi } from '../session/mutation-api.ts';

const api = useMutationApi();
const { create } = api;

let servers: readonly TestApp[];
beforeAll(async () => {
  servers = [api.app, await api.app.startSecondServer()];
});

const MUTATIONS = {
  updateSession: (index: number) => ({ title: `title ${index}` }),
  endSession: (index: number) => ({ reason: `reason ${index}` }),
  deleteSession: () => ({}),
} as const;

it('tests every mutation of the schema whose input has an expectedVersion', async () => {
  expect(await mutationsWithInputField(api.app, 'expectedVersion')).toEqual(Object.keys(MUTATIONS).sort());
});

describe.each(['updateSession', 'endSession', 'deleteSession'] as const)('expectedVersion of %s', name => {
  const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}Input`;
  const query = `mutation ($input: ${type}!) { ${name}(input: $input) { session { version } } }`;

  it('accepts one of twenty concurrent writes on two servers and reports the current version to the others', async () => {
    const { id } = await create();
    const calls = Array.from({ length: 20 }, (_, index) =>
      (servers[index % 2] ?? api.app).gql<Record<string, { session: { version: number } }>>(query, {
        input: { id, expectedVersion: 1, ...MUTATIONS[name](index) },
      }),
    );
    const answers = await Promise.all(calls);
    const [winner, ...others] = answers.filter(answer => answer.errors === undefined);
    expect(winner?.data?.[name]).toEqual({ session: { version: 2 } });
    expect(others).toEqual([]);
    for (const answer of answers) {
      if (answer === winner) continue;
      // The winner moved the session to the trash, where writes do not find it.
      if (name === 'deleteSession') answer.expectError('SESSION_NOT_FOUND');
      else
        expect(answer.expectError('VERSION_CONFLICT').extensions).toMatchObject({
          retryable: false,
          details: { expectedVersion: 1, currentVersion: 2 },
        });
    }
  });

  it('returns VERSION_CONFLICT for older and newer versions and writes nothing', async () => {
    const { id, sessionId } = await create();
    await api.update({ id, label: randomUUID() });
    const before = await api.session(id);
    for (const expectedVersion of [-1, 0, 1, 3, 2_147_483_647]) {
      const answer = await api.app.gql(query, { input: { id, expectedVersion, ...MUTATIONS[name](0) } });
      expect(answer.expectError('VERSION_CONFLICT').extensions.details).toEqual({ expectedVersion, currentVersion: 2 });
    }
    expect(await api.session(id)).toEqual(before);
    expect(await api.events(sessionId)).toHaveLength(2);
  });
});

describe('createSession with a label', () => {
  it('returns LABEL_TAKEN to all but one of twenty concurrent calls on two servers', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (servers[index % 2] ?? api.app).gql('mutation { createSession(input: { label: "scarce" }) { created } }'),
      ),
    );
    const refused = answers.filter(answer => answer.errors !== undefined);
    expect(refused).toHaveLength(19);
    for (const answer of refused) {
      expect(answer.expectError('LABEL_TAKEN').extensions.details).toEqual({ field: 'input.label', value: 'scarce' });
    }
  });
});
