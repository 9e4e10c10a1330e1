const MAX_LENGTH = 255;

/** A keyword and the table after it; what is no table of ours (a part of the statement, a function) is passed over. */
const TARGET = /\b(insert\s+into|update|delete\s+from|merge\s+into|from|join|using)\s+(?:only\s+)?(?:aria_engine\.)("?\w+"?)/gi;
const FIRST_WORD = /^(?:\s|--[^\n]*\n|\/\*[\s\S]*?\*\/)*(\w+)/;

function verbOf(keyword: string): string {
  const [verb = ''] = keyword.toUpperCase().split(/\s/);
  return ['FROM', 'JOIN', 'USING'].includes(verb) ? 'SELECT' : verb;
}

/**
 * What a statement does to which of our tables, in the order of its text, as OpenTelemetry's `db.query.summary` has it: such as
 * `UPDATE chat_sessions INSERT chat_messages`. Holds no value. Its first word, where it names none of our tables.
 * @param sql its text, with placeholders for values
 */
export function summarizeStatement(sql: string): string {
  const words: string[] = [];
  const seen = new Set<string>();
  let verb = '';
  for (const [, keyword = '', table = ''] of sql.matchAll(TARGET)) {
    const next = verbOf(keyword);
    if (seen.has(`${next} ${table}`)) continue;
    seen.add(`${next} ${table}`);
    if (next !== verb) words.push(next);
    verb = next;
    words.push(table);
  }
  const summary = words.length > 0 ? words.join(' ') : (FIRST_WORD.exec(sql)?.[1]?.toUpperCase() ?? 'SQL');
  return summary.slice(0, MAX_LENGTH);
}
