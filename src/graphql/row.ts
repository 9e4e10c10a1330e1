/**
 * The value of a column that is read only if the operation needs its group (look-ahead.ts).
 * @throws Error if the column was not read: the look-ahead has a bug, which must not show as null
 */
export function read<Row, Key extends keyof Row & string>(row: Row, key: Key): Exclude<Row[Key], undefined> {
  const value = row[key];
  if (value === undefined) throw new Error(`The column ${key} was not read.`);
  return value as Exclude<Row[Key], undefined>;
}

/**
 * The options of a GraphQL field that returns a column unchanged: the column group to read (look-ahead.ts), and the resolver.
 * @param columns the columns by field, with the group in which each is read; the group `core` is always read
 */
export function columnOptions<Row>(columns: Readonly<Record<string, { readonly type: string; readonly read?: string }>>) {
  return <Key extends keyof Row & string>(field: Key) => {
    const group = columns[field]?.read;
    if (group === undefined) throw new Error(`The column ${field} is in no column group.`);
    return { extensions: group === 'core' ? {} : { columns: group }, resolve: (row: Row) => read(row, field) };
  };
}
