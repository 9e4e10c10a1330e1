import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { RandomSource } from '../../../scripts/seed/random-source.ts';

/** Writes events directly to the database, as an import does: in its own transactions and without wake-ups. */
export interface TransactionWriter {
  /** Ids of events whose commit was acknowledged. */
  readonly committed: readonly string[];
  /** Ids of events whose transaction was rolled back. */
  readonly rolledBack: readonly string[];
  /**
   * Writes a few events in one transaction, with pauses between them. One transaction in five is rolled back. If the connection
   * breaks, the outcome is unknown, the ids are not recorded, and the next call connects again.
   */
  write(): Promise<void>;
  /** Writes one event, and commits it when `waitBeforeCommit` resolves. */
  writeSlowly(waitBeforeCommit: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

const LOCK = 'select from aria_engine.chat_sessions where id = $1 for no key update';
const INSERT = `insert into aria_engine.session_events (session_id, agent_id, type, payload)
  select id, agent_id, 'UPDATED', '{"changed": ["task"]}' from aria_engine.chat_sessions where id = $1 returning id`;

const RECONNECT_MS = 100;

/**
 * Creates a writer of the events of one session. It locks the session as every writer does.
 * @param sessionId the session
 */
export function createTransactionWriter(databaseUrl: string, sessionId: string, random: RandomSource): TransactionWriter {
  const committed: string[] = [];
  const rolledBack: string[] = [];
  let client: Client | null = null;

  async function ensureConnected(): Promise<Client> {
    if (client !== null) return client;
    const next = new Client({ connectionString: databaseUrl });
    // Without a listener the error would crash the process. The running query fails as well.
    next.on('error', () => undefined);
    await next.connect();
    client = next;
    return next;
  }

  async function insert(connection: Client): Promise<string> {
    const { rows } = await connection.query<{ id: string }>(INSERT, [sessionId]);
    return rows[0]?.id ?? '';
  }

  async function begin(): Promise<Client> {
    const connection = await ensureConnected();
    await connection.query('begin');
    await connection.query(LOCK, [sessionId]);
    return connection;
  }

  return {
    committed,
    rolledBack,
    async write() {
      try {
        const connection = await begin();
        const ids: string[] = [];
        for (let left = random.integer(1, 4); left > 0; left -= 1) {
          ids.push(await insert(connection));
          await delay(random.integer(0, 200));
        }
        const rollsBack = random.chance(0.2);
        await connection.query(rollsBack ? 'rollback' : 'commit');
        (rollsBack ? rolledBack : committed).push(...ids);
      } catch {
        await client?.end().catch(() => undefined);
        client = null;
        await delay(RECONNECT_MS);
      }
    },
    async writeSlowly(waitBeforeCommit) {
      const connection = await begin();
      const id = await insert(connection);
      await waitBeforeCommit();
      await connection.query('commit');
      committed.push(id);
    },
    async close() {
      await client?.end();
    },
  };
}
