/**
 * The value of a column that is read only if the operation needs its group (look-ahead.ts).
 * @throws Error if the column was not read: the look-ahead has a bug, which must not show as null
 */
export function read<Row, Key extends keyof Row & string>(row: Row, key: Key): Exclude<Row[Key], undefined> {
  const value = row[key];
  if (value === undefined) throw new Error(`The column ${key} was not read.`);
  return value as Exclude<Row[Key], undefined>;
}
