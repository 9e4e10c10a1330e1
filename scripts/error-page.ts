import { ERROR_CODES } from '../src/errors.ts';

const HEAD = `# Errors

Every error is an entry of \`errors\` with \`extensions { code details timestamp retryable }\`, over every transport. \`npm run print-schema\`
writes this page from the table of codes in \`src/errors.ts\`. In the schema, \`enum ErrorCode\` has the codes, and
\`serverInfo { errorCodes { code description retryable } }\` has their meaning.

- \`retryable\` is true if the same call may succeed later; \`details.retryAfterMs\` says when, if the server knows.
- \`details.field\` is the path from the arguments of the GraphQL field to the wrong value, such as \`first\`, \`input.tags.3\` or
  \`filter.and.0.key\`. The names of variables are not part of it, and a value in a variable has the same path as one in the document.
- \`errorId\` is only in INTERNAL_SERVER_ERROR. The log of the server has the cause under it.

| code | meaning | retryable | details |
|---|---|---|---|
`;

/** The text of docs/errors.md. */
export function renderErrorPage(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, { meaning, isRetryable, details }]) => {
    const named = Object.entries(details).map(([name, description]) => `\`${name}\`: ${description}`);
    return `| ${code} | ${meaning} | ${isRetryable ? 'yes' : 'no'} | ${named.join('; ')} |\n`;
  });
  return HEAD + rows.join('');
}
