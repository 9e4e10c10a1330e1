/** Something that a person should look at. */
export interface ImportProblem {
  /** A path below the imported folder, or the session's id at the source. */
  readonly file: string;
  /** 1-based; null if the problem concerns the whole file or session. */
  readonly line: number | null;
  readonly reason: string;
  readonly detail?: string;
}

/** What the import of one session adds to the report. */
export interface SessionOutcome {
  readonly result: 'created' | 'updated' | 'unchanged' | 'skipped';
  /** Why the session was skipped. */
  readonly reason?: string;
  readonly recordsRead: number;
  readonly recordsWritten: number;
  readonly messagesWritten: number;
  readonly replacedCharacters: number;
  readonly problems: readonly ImportProblem[];
}

/** What an import read, wrote and skipped. `--json` prints it as it is. */
export interface ImportReport {
  readonly source: string;
  readonly dryRun: boolean;
  /** How many items of each kind were read, such as `transcripts`. `lines` counts the records. */
  readonly read: Readonly<Record<string, number>> & { readonly lines: number };
  /** In a dry run: what an import would write. */
  readonly written: {
    readonly sessionsCreated: number;
    readonly sessionsUpdated: number;
    readonly messages: number;
    readonly lines: number;
  };
  readonly sessionsUnchanged: number;
  /** Number of characters that Postgres cannot store, replaced by U+FFFD. */
  readonly replacedCharacters: number;
  /** Number of files and sessions that were left out, by reason. */
  readonly skipped: Readonly<Record<string, number>>;
  /** Number of all problems, by reason. */
  readonly problemCounts: Readonly<Record<string, number>>;
  /** The first thousand problems. */
  readonly problems: readonly ImportProblem[];
  /** Sessions and stores that could not be imported. All others were. */
  readonly failures: readonly { readonly name: string; readonly error: string }[];
}

const LISTED_PROBLEMS = 1_000;

/** Collects a report while a source is read and its sessions are written. */
export class ImportReportBuilder {
  readonly source: string;
  readonly dryRun: boolean;
  readonly #read = new Map<string, number>();
  readonly #written = { sessionsCreated: 0, sessionsUpdated: 0, messages: 0, lines: 0 };
  readonly #skipped = new Map<string, number>();
  readonly #problemCounts = new Map<string, number>();
  readonly #problems: ImportProblem[] = [];
  readonly #failures: { name: string; error: string }[] = [];
  #linesRead = 0;
  #sessionsUnchanged = 0;
  #replacedCharacters = 0;

  /** @param source shown to the person who imports: a path, or a database without its password */
  constructor(source: string, dryRun: boolean) {
    this.source = source;
    this.dryRun = dryRun;
  }

  /** @param kind plural, such as `transcripts`; kinds are listed in the order of their first call */
  addRead(kind: string, count: number): void {
    add(this.#read, kind, count);
  }

  addReplacedCharacters(count: number): void {
    this.#replacedCharacters += count;
  }

  addSkipped(reason: string): void {
    add(this.#skipped, reason, 1);
  }

  addProblem(problem: ImportProblem): void {
    add(this.#problemCounts, problem.reason, 1);
    if (this.#problems.length < LISTED_PROBLEMS) this.#problems.push(problem);
  }

  addFailure(name: string, error: unknown): void {
    this.#failures.push({ name, error: error instanceof Error ? error.message : String(error) });
  }

  addOutcome(outcome: SessionOutcome): void {
    this.#linesRead += outcome.recordsRead;
    this.#written.lines += outcome.recordsWritten;
    this.#written.messages += outcome.messagesWritten;
    this.#replacedCharacters += outcome.replacedCharacters;
    if (outcome.result === 'created') this.#written.sessionsCreated++;
    if (outcome.result === 'updated') this.#written.sessionsUpdated++;
    if (outcome.result === 'unchanged') this.#sessionsUnchanged++;
    if (outcome.result === 'skipped') this.addSkipped(outcome.reason ?? 'skipped');
    for (const problem of outcome.problems) this.addProblem(problem);
  }

  build(): ImportReport {
    return {
      source: this.source,
      dryRun: this.dryRun,
      read: { ...Object.fromEntries(this.#read), lines: this.#linesRead },
      written: { ...this.#written },
      sessionsUnchanged: this.#sessionsUnchanged,
      replacedCharacters: this.#replacedCharacters,
      skipped: Object.fromEntries(this.#skipped),
      problemCounts: Object.fromEntries(this.#problemCounts),
      problems: [...this.#problems],
      failures: [...this.#failures],
    };
  }
}

/** The part of a report that a source writes to. */
export type SourceReport = Pick<ImportReportBuilder, 'addRead' | 'addReplacedCharacters' | 'addSkipped' | 'addProblem' | 'addFailure'>;

/** The report as text for a person. */
export function formatReport(report: ImportReport): string {
  const { written } = report;
  const read = Object.entries(report.read).map(([kind, count]) => `${kind}: ${count}`);
  const counts = `new sessions: ${written.sessionsCreated}, changed sessions: ${written.sessionsUpdated}, messages: ${written.messages}, lines: ${written.lines}`;
  const lines = [
    report.dryRun ? `Dry run of ${report.source}: nothing was written` : `Imported ${report.source}`,
    `  Read       ${read.join(', ')}`,
    `  ${report.dryRun ? 'To write ' : 'Written  '}  ${counts}`,
    `  Unchanged  sessions: ${report.sessionsUnchanged}`,
  ];
  if (report.replacedCharacters > 0)
    lines.push(`  Replaced   characters that Postgres cannot store: ${report.replacedCharacters} (now U+FFFD)`);
  for (const [reason, count] of Object.entries(report.skipped)) lines.push(`  Skipped    ${reason}: ${count}`);
  for (const [reason, count] of Object.entries(report.problemCounts)) lines.push(`  Problem    ${reason}: ${count}`);
  for (const { file, line, reason, detail } of report.problems) {
    lines.push(`    ${line === null ? file : `${file}:${line}`}: ${reason}${detail === undefined ? '' : ` (${detail})`}`);
  }
  const total = Object.values(report.problemCounts).reduce((sum, count) => sum + count, 0);
  const unlisted = total - report.problems.length;
  if (unlisted > 0) lines.push(`    … and ${unlisted} more`);
  for (const { name, error } of report.failures) lines.push(`  Failed     ${name}: ${error}`);
  return lines.join('\n');
}

function add(counts: Map<string, number>, name: string, count: number): void {
  counts.set(name, (counts.get(name) ?? 0) + count);
}
