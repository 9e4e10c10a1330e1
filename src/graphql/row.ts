/**
 * The value of a column that is read only where a field names its group (look-ahead.ts).
 * Absent, the look-ahead has missed a path to the row: a fault of ours that must not show as null.
 */
export function read<Row, Key extends keyof Row & string>(row: Row, key: Key): Exclude<Row[Key], undefined> {
  const value = row[key];
  if (value === undefined) throw new Error(`The column ${key} was not read.`);
  return value as Exclude<Row[Key], undefined>;
}
