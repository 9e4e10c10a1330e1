import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp } from '../../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));

let database: TestDatabase;
beforeAll(async () => {
  // No server ever ran on it.
  database = await createTestDatabase({ empty: true });
});
afterAll(() => database.close());

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command in a process of its own, as npm does. */
function run(...args: string[]): Promise<Ended> {
  return new Promise(resolve => {
    const env = { ...process.env, DATABASE_URL: database.url, LOG_LEVEL: 'silent' };
    const child = execFile(process.execPath, ['--import', 'tsx', 'scripts/key.ts', ...args], { cwd: root, env }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

describe('npm run key', () => {
  it('makes the first key, lists and revokes it', async () => {
    const created = await run('create', '--name', 'ci', '--scope', 'write', '--agent', 'A', '--agent', 'b', '--expires', '90d');
    expect(created.code).toBe(0);
    const secret = created.stdout.trim();
    expect(secret).toMatch(/^sg_[\w-]{43}$/);

    const app = await startTestApp({ databaseUrl: database.url });
    const asked = await app.gql('{ viewer { name scopes agentIds } }', undefined, { headers: { authorization: `Bearer ${secret}` } });
    expect(asked.expectOk()).toEqual({ viewer: { name: 'ci', scopes: ['READ', 'WRITE'], agentIds: ['a', 'b'] } });
    (await app.gql('{ viewer { name } }')).expectError('UNAUTHORIZED');

    const { stdout: listed } = await run('list');
    expect(listed).toContain(`${secret.slice(0, 11)}…  ci  (write; only a, b; expires `);
    expect(listed).not.toContain(secret);

    expect((await run('revoke', secret.slice(0, 11))).stdout).toContain('; revoked ');
    await expect
      .poll(async () => (await app.gql('{ viewer { name } }', undefined, { headers: { authorization: `Bearer ${secret}` } })).status, {
        timeout: 1_000,
      })
      .toBe(401);
    await app.close();
  });

  it.each([
    [['create', '--scope', 'read'], '--name is missing.'],
    [['create', '--name', 'x', '--scope', 'all'], '--scope must be one of read, write, manage, admin.'],
    [['create', '--name', 'x', '--scope', 'read', '--expires', 'soon'], '--expires must be a duration such as 12h or 90d.'],
    [['revoke', 'nobody'], 'There is no API key nobody.'],
    [[], 'Usage: npm run key'],
  ])('with %j says what is wrong', async (args, problem) => {
    const { code, stdout, stderr } = await run(...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(problem);
  });
});
