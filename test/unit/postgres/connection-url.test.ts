import { describe, expect, it } from 'vitest';
import { parseConnectionUrl, toClientConfig } from '../../../src/postgres/connection-url.ts';

describe('parseConnectionUrl', () => {
  it('removes the parameters that only Prisma knows from the connection string', () => {
    const url = 'postgresql://ada:secret@db.example:5433/app?schema=records&sslmode=require&connection_limit=5&pgbouncer=true';
    expect(parseConnectionUrl(url)).toEqual({
      connectionString: 'postgresql://ada:secret@db.example:5433/app?sslmode=require',
      options: '',
      schema: 'records',
      database: 'app',
      isPgBouncer: true,
      description: 'db.example:5433/app',
    });
  });

  it('names the schema public if the URL names none', () => {
    expect(parseConnectionUrl('postgres://localhost/app').schema).toBe('public');
  });

  it('knows PgBouncer only by pgbouncer=true', () => {
    const urls = ['postgres://localhost/app', 'postgres://localhost/app?pgbouncer=false', 'postgres://localhost/app?pgbouncer=true'];
    expect(urls.map(url => parseConnectionUrl(url).isPgBouncer)).toEqual([false, false, true]);
  });

  it('describes the database without the credentials', () => {
    expect(parseConnectionUrl('postgres://ada:secret@localhost/app').description).toBe('localhost/app');
  });
});

describe('toClientConfig', () => {
  it("puts the URL's own options after our defaults, which they replace, and before the settings that the server depends on", () => {
    const url = 'postgres://localhost/app?options=-c%20jit%3Don%20-c%20timezone%3DEurope/Berlin&sslmode=require';
    expect(toClientConfig(url, { jit: 'off' })).toEqual({
      connectionString: 'postgres://localhost/app?sslmode=require',
      options: '-c jit=off -c jit=on -c timezone=Europe/Berlin -c timezone=UTC -c default_transaction_isolation=read\\ committed',
    });
  });
});
