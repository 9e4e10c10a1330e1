import { Client } from 'pg';

/** Runs one statement on its own short-lived connection, independent of the application, and returns the rows. */
export async function runSql<Row extends object>(url: string, statement: string, values: readonly unknown[] = []): Promise<Row[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row>(statement, [...values])).rows;
  } finally {
    await client.end();
  }
}
