import { Client } from 'pg';

/** Runs one statement on a connection of its own, beside the application, and gives its rows. */
export async function query<Row extends object>(url: string, statement: string, values: readonly unknown[] = []): Promise<Row[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row>(statement, [...values])).rows;
  } finally {
    await client.end();
  }
}
