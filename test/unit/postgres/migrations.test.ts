import { describe, expect, it } from 'vitest';
import { checksumOf, planMigrations, type RecordedMigration, relationsMadeBy } from '../../../src/postgres/migrations.ts';

const first = { name: '1_first', sql: 'create table a ();\n' };
const second = { name: '2_second', sql: 'create table b ();\n' };

function recorded(migration: { name: string; sql: string }, change: Partial<RecordedMigration> = {}): RecordedMigration {
  return { name: migration.name, checksum: checksumOf(migration.sql), finished: true, logs: null, ...change };
}

describe('planMigrations', () => {
  it('returns every migration for an empty database', () => {
    expect(planMigrations([first, second], [])).toEqual([first, second]);
  });

  it('returns the migrations that are not recorded', () => {
    expect(planMigrations([first, second], [recorded(first)])).toEqual([second]);
    expect(planMigrations([first, second], [recorded(second)])).toEqual([first]);
  });

  it('returns nothing if all migrations are recorded', () => {
    expect(planMigrations([first, second], [recorded(first), recorded(second)])).toEqual([]);
  });

  it('treats different line ends as the same file', () => {
    const windows = { ...first, sql: first.sql.replaceAll('\n', '\r\n') };
    expect(planMigrations([windows], [recorded(first)])).toEqual([]);
    expect(planMigrations([first], [recorded(windows)])).toEqual([]);
  });

  it('refuses a changed file', () => {
    const changed = { ...first, sql: `${first.sql}-- more\n` };
    expect(() => planMigrations([changed], [recorded(first)])).toThrow(/1_first was changed after/);
  });

  it('refuses a database with an unfinished migration, and repeats its error', () => {
    const failed = recorded(first, { finished: false, logs: 'out of disk' });
    expect(() => planMigrations([first, second], [failed])).toThrow(/1_first was started .*out of disk/s);
  });

  it('refuses a database that was migrated by a newer version', () => {
    expect(() => planMigrations([first], [recorded(first), recorded(second)])).toThrow(
      /does not know a migration of this database: 2_second/,
    );
  });
});

describe('relationsMadeBy', () => {
  it('returns the tables and types that the migrations create, with their schemas', () => {
    const sql = `CREATE TABLE "s"."t" (\n);\nCREATE TYPE "s"."e" AS ENUM ();\ncreate table if not exists "s"."u" ();\nCREATE INDEX "i" ON "s"."t"("a");`;
    expect(relationsMadeBy([{ name: '1', sql }])).toEqual([
      ['s', 't'],
      ['s', 'e'],
      ['s', 'u'],
    ]);
  });
});
