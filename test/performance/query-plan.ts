import type pg from 'pg';
import type { RecordedStatement } from '../../src/postgres/database.ts';

/** The plan and cost of one execution of a statement. */
export interface QueryPlan {
  /** Rows that its table and index scans returned or discarded, summed over all loops. */
  readonly rowsRead: number;
  /** The discarded rows among them. */
  readonly rowsRemoved: number;
  /** Pages of 8 KiB that it read. */
  readonly buffers: number;
  readonly milliseconds: number;
  /** The plan's nodes with their tables and indexes, outermost first, e.g. `Index Scan chat_sessions_pkey`. */
  readonly nodes: readonly string[];
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Actual Rows'?: number;
  readonly 'Actual Loops'?: number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Rows Removed by Index Recheck'?: number;
  readonly 'Shared Hit Blocks'?: number;
  readonly 'Shared Read Blocks'?: number;
  readonly Plans?: readonly PlanNode[];
}

interface Explained {
  readonly Plan: PlanNode;
  readonly 'Execution Time': number;
}

const EXPLAIN = 'explain (analyze, buffers, format json)';

/** Runs a statement and returns its plan for these parameters. */
export async function explain(client: pg.Client, { sql, parameters }: RecordedStatement): Promise<QueryPlan> {
  const { rows } = await client.query<{ 'QUERY PLAN': readonly Explained[] }>(`${EXPLAIN} ${sql}`, [...parameters]);
  return toQueryPlan(rows);
}

/** Runs a statement and returns its generic plan, which Postgres may use for a prepared statement after a few executions. */
export async function explainGeneric(client: pg.Client, { sql, parameters }: RecordedStatement): Promise<QueryPlan> {
  await client.query('set plan_cache_mode = force_generic_plan');
  await client.query(`prepare explained as ${sql}`);
  try {
    const values = parameters.length === 0 ? '' : `(${parameters.map(toLiteral).join(', ')})`;
    const { rows } = await client.query<{ 'QUERY PLAN': readonly Explained[] }>(`${EXPLAIN} execute explained${values}`);
    return toQueryPlan(rows);
  } finally {
    await client.query('deallocate explained');
    await client.query('reset plan_cache_mode');
  }
}

function toQueryPlan(rows: readonly { 'QUERY PLAN': readonly Explained[] }[]): QueryPlan {
  const explained = rows[0]?.['QUERY PLAN'][0];
  if (explained === undefined) throw new Error('EXPLAIN returned no plan.');
  const all = [...walk(explained.Plan)];
  const scans = all.filter(node => node['Node Type'].endsWith('Scan') && isTable(node));
  const removed = (node: PlanNode) => (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0);
  const total = (rowsOf: (node: PlanNode) => number) =>
    Math.round(scans.reduce((sum, node) => sum + rowsOf(node) * (node['Actual Loops'] ?? 0), 0));
  return {
    rowsRead: total(node => (node['Actual Rows'] ?? 0) + removed(node)),
    rowsRemoved: total(removed),
    buffers: (explained.Plan['Shared Hit Blocks'] ?? 0) + (explained.Plan['Shared Read Blocks'] ?? 0),
    milliseconds: explained['Execution Time'],
    nodes: all.map(node => [node['Node Type'], node['Index Name'] ?? node['Relation Name']].filter(part => part !== undefined).join(' ')),
  };
}

/** False for the index scan of a bitmap scan, which returns pointers and not rows. Its heap scan is counted instead. */
function isTable(node: PlanNode): boolean {
  return node['Relation Name'] !== undefined;
}

function* walk(node: PlanNode): Generator<PlanNode> {
  yield node;
  for (const inner of node.Plans ?? []) yield* walk(inner);
}

/** Returns an untyped literal. The statement determines its type. */
function toLiteral(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  const text = Array.isArray(value) ? `{${value.map(item => `"${String(item).replace(/["\\]/g, '\\$&')}"`).join(',')}}` : String(value);
  return `'${text.replaceAll("'", "''")}'`;
}
