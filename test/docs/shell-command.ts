/** A line of a shell example, taken apart. */
export interface ShellCommand {
  readonly line: string;
  /** The assignments in front of the command. */
  readonly env: Readonly<Record<string, string>>;
  readonly words: readonly string[];
}

/** Splits a block into its commands, one a line, without comments. A backslash at the end of a line continues it. */
export function parseCommands(text: string): readonly ShellCommand[] {
  return text
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .map(line => line.replace(/ +# .*$/, ''))
    .filter(line => line.trim() !== '')
    .map(parseCommand);
}

function parseCommand(line: string): ShellCommand {
  const words = [...line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) => word.replace(/'([^']*)'|"([^"]*)"/g, '$1$2'));
  const first = words.findIndex(word => !/^[A-Z_]+=/.test(word));
  const env = words.slice(0, first).map(word => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]);
  return { line, env: Object.fromEntries(env), words: words.slice(first) };
}
