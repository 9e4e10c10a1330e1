import { readFileSync, writeFileSync } from 'node:fs';
import { lexicographicSortSchema, printSchema } from 'graphql';
import { createSchema } from '../src/schema.ts';

// The printed schema is committed, so that every change of the contract is a diff to be reviewed.
// `--check` writes nothing and fails where the committed file is not what would be printed.
const FILE = 'schema.graphql';
const printed = `${printSchema(lexicographicSortSchema(createSchema()))}\n`;

if (!process.argv.includes('--check')) {
  writeFileSync(FILE, printed);
} else if (readFileSync(FILE, 'utf8') !== printed) {
  process.stderr.write(`${FILE} is not what the code prints; run: npm run print-schema\n`);
  process.exitCode = 1;
}
