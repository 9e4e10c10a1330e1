import { type ParseArgsConfig, parseArgs } from 'node:util';
import { ConfigError } from '../src/config.ts';
import { DomainError, reasonOf, StartError } from '../src/errors.ts';

/** Why a command cannot do its work. The user sees the message without a stack. */
export class CommandError extends Error {
  override readonly name: string = 'CommandError';
}

/** A wrong argument. The user sees the message and a hint to `--help`. */
export class UsageError extends CommandError {
  override readonly name = 'UsageError';
}

/** A command that npm runs. */
interface Command {
  /** The name of the npm script. */
  readonly name: string;
  /** The text of `--help`. */
  readonly usage: string;
  /** @param words the arguments after the name of the command */
  run(words: readonly string[]): Promise<void>;
}

/**
 * Runs a command, or prints its usage if `--help` or `-h` is among the arguments.
 * Failures that the user can act on are printed as one message on standard error, with exit code 1. Other errors are rethrown.
 */
export async function runCommand({ name, usage, run }: Command): Promise<void> {
  const words = process.argv.slice(2);
  if (words.includes('--help') || words.includes('-h')) {
    process.stdout.write(`${usage.trimEnd()}\n`);
    return;
  }
  try {
    await run(words);
  } catch (error) {
    process.exitCode = 1;
    if (error instanceof UsageError) process.stderr.write(`${error.message} See: npm run ${name} -- --help\n`);
    else if ([CommandError, ConfigError, StartError, DomainError].some(kind => error instanceof kind))
      process.stderr.write(`${reasonOf(error)}\n`);
    else throw error;
  }
}

/**
 * `parseArgs` of Node, which returns options and positional arguments.
 * @throws UsageError for an unknown option or a missing value
 */
export function parseWords<Config extends ParseArgsConfig>(config: Config): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs(config);
  } catch (error) {
    // The sentences after the first one explain the syntax of positional arguments.
    const [problem = ''] = reasonOf(error).split(/\.\s|\n/);
    throw new UsageError(`${problem.replace(/\.$/, '')}.`);
  }
}

/** @throws UsageError if the text is no whole number in this range */
export function readWholeNumber(option: string, text: string, lowest: number, highest: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= lowest && value <= highest) return value;
  throw new UsageError(`${option} must be a whole number from ${lowest} to ${highest}; got "${text}".`);
}
