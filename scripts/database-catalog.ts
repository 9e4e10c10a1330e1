import type pg from 'pg';

/** Every schema but Postgres' own. */
const NOT_SYSTEM = `nspname !~ '^pg_' and nspname <> 'information_schema'`;
/** Objects that an extension has not created. */
const NOT_OF_EXTENSION = (catalog: string) =>
  `not exists (select from pg_depend where classid = '${catalog}'::regclass and objid = ${catalog}.oid and deptype = 'e')`;
/** Relations other than Prisma's records of migrations. */
const NOT_OF_PRISMA = `relname !~ '^_prisma_migrations'`;

/** One query for each kind of object. Each row describes one object completely in one line. */
const QUERIES = [
  `select 'schema ' || nspname as line from pg_namespace where ${NOT_SYSTEM}`,
  `select 'extension ' || extname as line from pg_extension`,
  `select format('%s %I.%I%s%s', case relkind when 'r' then 'table' when 'p' then 'table' when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else relkind::text end,
      nspname, relname, ' partition by ' || pg_get_partkeydef(pg_class.oid), ' partition ' || pg_get_expr(relpartbound, pg_class.oid)) as line
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where ${NOT_SYSTEM} and ${NOT_OF_PRISMA} and relkind in ('r', 'p', 'v', 'm', 'S') and ${NOT_OF_EXTENSION('pg_class')}`,
  `select format('column %I.%I.%I %s%s%s%s%s', nspname, relname, attname, format_type(atttypid, atttypmod),
      case when attnotnull then ' not null' end, case attgenerated when 's' then ' generated' when 'v' then ' virtual' end || ' always',
      ' default ' || pg_get_expr(adbin, adrelid), case when attcollation <> typcollation then ' collate ' || attcollation::regcollation end) as line
    from pg_attribute join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace
    join pg_type on pg_type.oid = atttypid left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where ${NOT_SYSTEM} and ${NOT_OF_PRISMA} and relkind in ('r', 'p', 'v', 'm') and attnum > 0 and not attisdropped and ${NOT_OF_EXTENSION('pg_class')}`,
  // Without the "not null" constraints that Postgres 18 lists: the lines of the columns have them.
  `select format('constraint %I.%I %I %s', nspname, relname, conname, pg_get_constraintdef(pg_constraint.oid)) as line
    from pg_constraint join pg_class on pg_class.oid = conrelid join pg_namespace on pg_namespace.oid = relnamespace
    where ${NOT_SYSTEM} and ${NOT_OF_PRISMA} and contype <> 'n'`,
  `select 'index ' || pg_get_indexdef(indexrelid) as line
    from pg_index join pg_class on pg_class.oid = indexrelid join pg_namespace on pg_namespace.oid = relnamespace where ${NOT_SYSTEM} and ${NOT_OF_PRISMA}`,
  `select format('enum %I.%I %s', nspname, typname, string_agg(quote_literal(enumlabel), ', ' order by enumsortorder)) as line
    from pg_enum join pg_type on pg_type.oid = enumtypid join pg_namespace on pg_namespace.oid = typnamespace
    where ${NOT_SYSTEM} and ${NOT_OF_EXTENSION('pg_type')} group by nspname, typname`,
  `select format('sequence of %I.%I %s from %s by %s up to %s cache %s%s, owned by %s', nspname, relname, seqtypid::regtype, seqstart, seqincrement, seqmax, seqcache,
      case when seqcycle then ' cycle' end,
      (select format('%s(%s)', refobjid::regclass, refobjsubid) from pg_depend where classid = 'pg_class'::regclass and objid = seqrelid and deptype = 'a')) as line
    from pg_sequence join pg_class on pg_class.oid = seqrelid join pg_namespace on pg_namespace.oid = relnamespace where ${NOT_SYSTEM}`,
  `select 'function ' || pg_get_functiondef(pg_proc.oid) as line
    from pg_proc join pg_namespace on pg_namespace.oid = pronamespace where ${NOT_SYSTEM} and prokind in ('f', 'p') and ${NOT_OF_EXTENSION('pg_proc')}`,
  `select 'trigger ' || pg_get_triggerdef(pg_trigger.oid) as line from pg_trigger where not tgisinternal`,
  `select format('definition of %I.%I %s', nspname, relname, pg_get_viewdef(pg_class.oid)) as line
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace where ${NOT_SYSTEM} and relkind in ('v', 'm') and ${NOT_OF_EXTENSION('pg_class')}`,
];

/** Describes all objects of a database in sorted lines, except Prisma's records of migrations and the order of columns. */
export async function describeCatalog(client: Pick<pg.ClientBase, 'query'>): Promise<string[]> {
  // Makes Postgres print every name with its schema.
  await client.query('set search_path = pg_catalog');
  const lines: string[] = [];
  for (const query of QUERIES) {
    const { rows } = await client.query<{ line: string }>(query);
    lines.push(...rows.map(({ line }) => line));
  }
  return lines.sort();
}

/** The lines that occur in only one of two catalogs. */
export function compareCatalogs(one: readonly string[], other: readonly string[]): { onlyOne: string[]; onlyOther: string[] } {
  const missingIn = (lines: readonly string[]) => {
    const known = new Set(lines);
    return (line: string) => !known.has(line);
  };
  return { onlyOne: one.filter(missingIn(other)), onlyOther: other.filter(missingIn(one)) };
}
