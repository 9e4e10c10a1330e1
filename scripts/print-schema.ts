import { readFileSync, writeFileSync } from 'node:fs';
import { printSortedSchema } from '../src/graphql/sorted-schema.ts';
import { createSchema } from '../src/schema.ts';
import { CommandError, parseWords, runCommand } from './command-line.ts';
import { renderErrorPage } from './error-page.ts';

const USAGE = `npm run print-schema -- [--check]

Writes the GraphQL schema to schema.graphql, and the error codes to docs/errors.md. Both files are committed: a change of the API shows in
review.

  --check   write nothing; exit code 1 if a file is not up to date
`;

async function run(words: readonly string[]): Promise<void> {
  const { values } = parseWords({ args: [...words], options: { check: { type: 'boolean' } } });
  const files = { 'schema.graphql': `${printSortedSchema(createSchema())}\n`, 'docs/errors.md': renderErrorPage() };
  for (const [file, text] of Object.entries(files)) {
    if (values.check !== true) writeFileSync(file, text);
    else if (readFileSync(file, 'utf8') !== text) throw new CommandError(`${file} is not up to date. Run: npm run print-schema`);
  }
}

await runCommand({ name: 'print-schema', usage: USAGE, run });
