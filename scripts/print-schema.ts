import { readFileSync, writeFileSync } from 'node:fs';
import { lexicographicSortSchema, printSchema } from 'graphql';
import { createSchema } from '../src/schema.ts';
import { CommandError, parseWords, runCommand } from './command-line.ts';

const USAGE = `npm run print-schema -- [--check]

Writes the GraphQL schema to schema.graphql. The file is committed: a change of the API shows in review.

  --check   write nothing; exit code 1 if schema.graphql is not up to date
`;

const FILE = 'schema.graphql';

async function run(words: readonly string[]): Promise<void> {
  const { values } = parseWords({ args: [...words], options: { check: { type: 'boolean' } } });
  const printed = `${printSchema(lexicographicSortSchema(createSchema()))}\n`;
  if (values.check !== true) writeFileSync(FILE, printed);
  else if (readFileSync(FILE, 'utf8') !== printed) throw new CommandError(`${FILE} is not up to date. Run: npm run print-schema`);
}

await runCommand({ name: 'print-schema', usage: USAGE, run });
