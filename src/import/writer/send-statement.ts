import type { ClientBase } from 'pg';
import type { Sql } from '../../postgres/database.ts';

/** Sends a statement that services and imports have in common on the import's own connection. */
export async function sendStatement(client: ClientBase, { text, values }: Sql): Promise<void> {
  await client.query({ text, values });
}
