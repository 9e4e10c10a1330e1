import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { TestApp } from '../../support/app.ts';
import { useWriteSide } from '../session/write-side.ts';

const side = useWriteSide();
const { create } = side;

let servers: readonly TestApp[];
beforeAll(async () => {
  servers = [side.app, await side.app.startSecondServer()];
});

const MUTATIONS = {
  updateSession: (index: number) => ({ title: `title ${index}` }),
  endSession: (index: number) => ({ reason: `reason ${index}` }),
  deleteSession: () => ({}),
} as const;

describe.each(['updateSession', 'endSession', 'deleteSession'] as const)('expectedVersion of %s', name => {
  const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}Input`;
  const query = `mutation ($input: ${type}!) { ${name}(input: $input) { session { version } } }`;

  it('lets one of twenty write that race on two servers, and tells the others the version they lost to', async () => {
    const { id } = await create();
    const calls = Array.from({ length: 20 }, (_, index) =>
      (servers[index % 2] ?? side.app).gql<Record<string, { session: { version: number } }>>(query, {
        input: { id, expectedVersion: 1, ...MUTATIONS[name](index) },
      }),
    );
    const answers = await Promise.all(calls);
    const [winner, ...others] = answers.filter(answer => answer.errors === undefined);
    expect(winner?.data?.[name]).toEqual({ session: { version: 2 } });
    expect(others).toEqual([]);
    for (const answer of answers) {
      if (answer === winner) continue;
      // What lies in the trash has no version to expect.
      if (name === 'deleteSession') answer.expectError('SESSION_NOT_FOUND');
      else
        expect(answer.expectError('VERSION_CONFLICT').extensions).toMatchObject({
          retryable: false,
          details: { expectedVersion: 1, currentVersion: 2 },
        });
    }
  });

  it('is a conflict before anything is written, of a version to come as of one gone by', async () => {
    const { id, sessionId } = await create();
    await side.update({ id, label: randomUUID() });
    const before = await side.session(id);
    for (const expectedVersion of [-1, 0, 1, 3, 2_147_483_647]) {
      const answer = await side.app.gql(query, { input: { id, expectedVersion, ...MUTATIONS[name](0) } });
      expect(answer.expectError('VERSION_CONFLICT').extensions.details).toEqual({ expectedVersion, currentVersion: 2 });
    }
    expect(await side.session(id)).toEqual(before);
    expect(await side.events(sessionId)).toHaveLength(2);
  });
});

describe('a label', () => {
  it('goes to one of twenty sessions begun with it at once on two servers', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (servers[index % 2] ?? side.app).gql('mutation { createSession(input: { label: "scarce" }) { created } }'),
      ),
    );
    const refused = answers.filter(answer => answer.errors !== undefined);
    expect(refused).toHaveLength(19);
    for (const answer of refused) {
      expect(answer.expectError('LABEL_TAKEN').extensions.details).toEqual({ field: 'label', value: 'scarce' });
    }
  });
});
