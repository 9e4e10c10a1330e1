import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { RandomSource } from '../../../scripts/seed/random-source.ts';

/** A process beside the servers, as an import is one: it writes events in transactions of its own, and wakes nobody. */
export interface TransactionWriter {
  /** Ids of events whose commit was acknowledged. */
  readonly committed: readonly string[];
  /** Ids of events that were taken back. */
  readonly rolledBack: readonly string[];
  /**
   * Writes events of one session in one transaction, which sleeps in between; one in five is taken back. Where the connection breaks,
   * nothing is known of it, and the next call connects again.
   */
  write(): Promise<void>;
  /** Writes one event and commits when `until` resolves. */
  hold(until: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

const LOCK = 'select from aria_engine.chat_sessions where id = $1 for no key update';
const INSERT = `insert into aria_engine.session_events (session_id, agent_id, type, payload)
  select id, agent_id, 'UPDATED', '{"changed": ["task"]}' from aria_engine.chat_sessions where id = $1 returning id`;

const RECONNECT_MS = 100;

/** @param sessionId of the session whose events it writes, under its lock as everyone does */
export function createTransactionWriter(databaseUrl: string, sessionId: string, random: RandomSource): TransactionWriter {
  const committed: string[] = [];
  const rolledBack: string[] = [];
  let client: Client | null = null;

  async function connected(): Promise<Client> {
    if (client !== null) return client;
    const next = new Client({ connectionString: databaseUrl });
    // What is under way fails as well.
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
    const connection = await connected();
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
        const isTakenBack = random.chance(0.2);
        await connection.query(isTakenBack ? 'rollback' : 'commit');
        (isTakenBack ? rolledBack : committed).push(...ids);
      } catch {
        await client?.end().catch(() => undefined);
        client = null;
        await delay(RECONNECT_MS);
      }
    },
    async hold(until) {
      const connection = await begin();
      const id = await insert(connection);
      await until();
      await connection.query('commit');
      committed.push(id);
    },
    async close() {
      await client?.end();
    },
  };
}
