import { describe, expect, it } from 'vitest';
import { parseConnectionUrl } from '../../../src/postgres/connection-url.ts';

describe('parseConnectionUrl', () => {
  it('keeps from the driver what only Prisma knows', () => {
    const url = 'postgresql://ada:secret@db.example:5433/app?schema=records&connection_limit=5&sslmode=require';
    expect(parseConnectionUrl(url)).toEqual({
      connectionString: 'postgresql://ada:secret@db.example:5433/app?sslmode=require',
      schema: 'records',
      description: 'db.example:5433/app',
    });
  });

  it('takes the schema public where none is named', () => {
    expect(parseConnectionUrl('postgres://localhost/app').schema).toBe('public');
  });

  it('says nothing of the password', () => {
    expect(parseConnectionUrl('postgres://ada:secret@localhost/app').description).toBe('localhost/app');
  });
});
