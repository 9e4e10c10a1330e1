import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp } from '../../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));

let database: TestDatabase;
beforeAll(async () => {
  // Without migrations: the command must apply them itself.
  database = await createTestDatabase({ empty: true });
});
afterAll(() => database.close());

interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs scripts/key.ts in a child process, as `npm run key` does. */
function runKeyCommand(...args: string[]): Promise<CommandResult> {
  return new Promise(resolve => {
    const env = { ...process.env, DATABASE_URL: database.url, LOG_LEVEL: 'silent' };
    const child = execFile(process.execPath, ['--import', 'tsx', 'scripts/key.ts', ...args], { cwd: root, env }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

describe('npm run key', () => {
  it('creates the first key, lists it without its secret and revokes it', async () => {
    const created = await runKeyCommand('create', '--name', 'ci', '--scope', 'write', '--agent', 'A', '--agent', 'b', '--expires', '90d');
    expect(created.code).toBe(0);
    const secret = created.stdout.trim();
    expect(secret).toMatch(/^sg_[\w-]{43}$/);

    const app = await startTestApp({ databaseUrl: database.url });
    const response = await app.gql('{ viewer { name scopes agentIds } }', undefined, { headers: { authorization: `Bearer ${secret}` } });
    expect(response.expectOk()).toEqual({ viewer: { name: 'ci', scopes: ['READ', 'WRITE'], agentIds: ['a', 'b'] } });
    (await app.gql('{ viewer { name } }')).expectError('UNAUTHORIZED');

    const { stdout: listed } = await runKeyCommand('list');
    expect(listed).toContain(`${secret.slice(0, 11)}…  ci  (write; only a, b; expires `);
    expect(listed).not.toContain(secret);

    expect((await runKeyCommand('revoke', secret.slice(0, 11))).stdout).toContain('; revoked ');
    await expect
      .poll(async () => (await app.gql('{ viewer { name } }', undefined, { headers: { authorization: `Bearer ${secret}` } })).status)
      .toBe(401);
    await app.close();
  });

  it('creates a key with its own rate limits and lists them', async () => {
    const created = await runKeyCommand(
      ...['create', '--name', 'limited', '--scope', 'write'],
      ...['--rate-limit-requests', '7', '--rate-limit-writes', '0', '--rate-limit-creations', '2000000000'],
    );
    expect(created.code).toBe(0);
    expect((await runKeyCommand('list')).stdout).toContain(
      'limited  (write; all agents; never expires; never used; per minute: 7 requests, unlimited writes, 2000000000 creations)',
    );
    const authorization = `Bearer ${created.stdout.trim()}`;
    const app = await startTestApp({ databaseUrl: database.url, env: { RATE_LIMIT_MANAGEMENT: '5', RATE_LIMIT_WRITES: '9' } });
    const response = await app.gql('{ viewer { rateLimits { name limit } } }', undefined, { headers: { authorization } });
    expect(response.expectOk()).toEqual({
      viewer: {
        rateLimits: [
          { name: 'requests', limit: 7 },
          { name: 'creations', limit: 2_000_000_000 },
          { name: 'management', limit: 5 },
        ],
      },
    });
    await app.close();
  });

  it.each([
    [['create', '--scope', 'read'], '--name is missing.'],
    [['create', '--name', 'x', '--scope', 'all'], '--scope must be one of read, write, manage, admin; got "all".'],
    [['create', '--name', 'x', '--scope', 'read', '--expires', 'soon'], '--expires must be a duration such as 12h or 90d; got "soon".'],
    [['create', '--name', 'x', '--scope', 'read', '--rate-limit-writes', '1.5'], '--rate-limit-writes must be a whole number from 0 to'],
    [['create', '--name', 'x', '--scope', 'read', '--rate-limit-writes', '2147483648'], '--rate-limit-writes must be a whole number'],
    [['revoke', 'nobody'], 'There is no API key nobody.'],
    [[], 'The first argument must be create, list, or revoke with the prefix or id of one key.'],
  ])('exits with code 1 and an error message for the arguments %j', async (args, problem) => {
    const { code, stdout, stderr } = await runKeyCommand(...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(problem);
  });
});
