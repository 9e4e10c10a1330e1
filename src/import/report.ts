/** Where and what, for a person to look at. */
export interface ImportProblem {
  /** A path below what was imported. */
  readonly file: string;
  /** 1-based; null where the whole file or session is meant. */
  readonly line: number | null;
  readonly reason: string;
  readonly detail?: string;
}

/** What one session added to a report. */
export interface SessionOutcome {
  readonly result: 'created' | 'updated' | 'unchanged' | 'skipped';
  /** Why it was skipped. */
  readonly reason?: string;
  readonly linesRead: number;
  readonly linesWritten: number;
  readonly messagesWritten: number;
  readonly replacedCharacters: number;
  readonly problems: readonly ImportProblem[];
}

/** What an import read, wrote and skipped, and why; JSON as it is. */
export interface ImportReport {
  readonly source: string;
  readonly dryRun: boolean;
  readonly read: {
    readonly agents: number;
    readonly stores: number;
    readonly entries: number;
    readonly transcripts: number;
    readonly lines: number;
  };
  /** In a dry run, what would be written. */
  readonly written: {
    readonly sessionsCreated: number;
    readonly sessionsUpdated: number;
    readonly messages: number;
    readonly lines: number;
  };
  readonly sessionsUnchanged: number;
  /** Characters that no database text can hold, replaced by U+FFFD. */
  readonly replacedCharacters: number;
  /** Files and sessions left out, by reason. */
  readonly skipped: Readonly<Record<string, number>>;
  /** Problems by reason, also those not listed. */
  readonly problemCounts: Readonly<Record<string, number>>;
  /** The first thousand. */
  readonly problems: readonly ImportProblem[];
  /** Sessions and stores that could not be imported; the others were. */
  readonly failures: readonly { readonly name: string; readonly error: string }[];
}

const LISTED_PROBLEMS = 1_000;

/** Adds up a report while an import runs. */
export class ImportReportBuilder {
  readonly #source: string;
  readonly #dryRun: boolean;
  readonly #read = { agents: 0, stores: 0, entries: 0, transcripts: 0, lines: 0 };
  readonly #written = { sessionsCreated: 0, sessionsUpdated: 0, messages: 0, lines: 0 };
  readonly #skipped = new Map<string, number>();
  readonly #problemCounts = new Map<string, number>();
  readonly #problems: ImportProblem[] = [];
  readonly #failures: { name: string; error: string }[] = [];
  #sessionsUnchanged = 0;
  #replacedCharacters = 0;

  constructor(source: string, dryRun: boolean) {
    this.#source = source;
    this.#dryRun = dryRun;
  }

  addRead(what: 'agents' | 'stores' | 'entries' | 'transcripts', count = 1): void {
    this.#read[what] += count;
  }

  addReplacedCharacters(count: number): void {
    this.#replacedCharacters += count;
  }

  addSkipped(reason: string): void {
    this.#skipped.set(reason, (this.#skipped.get(reason) ?? 0) + 1);
  }

  addProblem(problem: ImportProblem): void {
    this.#problemCounts.set(problem.reason, (this.#problemCounts.get(problem.reason) ?? 0) + 1);
    if (this.#problems.length < LISTED_PROBLEMS) this.#problems.push(problem);
  }

  addFailure(name: string, error: unknown): void {
    this.#failures.push({ name, error: error instanceof Error ? error.message : String(error) });
  }

  addOutcome(outcome: SessionOutcome): void {
    this.#read.lines += outcome.linesRead;
    this.#written.lines += outcome.linesWritten;
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
      source: this.#source,
      dryRun: this.#dryRun,
      read: { ...this.#read },
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

/** The report as lines of text for a person. */
export function formatReport(report: ImportReport): string {
  const { read, written } = report;
  const lines = [
    `${report.dryRun ? 'Dry run over' : 'Imported'} ${report.source}`,
    `  read      ${read.agents} agent(s), ${read.stores} store(s) with ${read.entries} entries, ${read.transcripts} transcript(s) with ${read.lines} lines`,
    `  ${report.dryRun ? 'to write ' : 'written  '} ${written.sessionsCreated} new session(s), ${written.sessionsUpdated} changed, ${written.messages} message(s), ${written.lines} raw line(s)`,
    `  unchanged ${report.sessionsUnchanged} session(s)`,
  ];
  if (report.replacedCharacters > 0) lines.push(`  replaced  ${report.replacedCharacters} character(s) that cannot be stored, by U+FFFD`);
  for (const [reason, count] of Object.entries(report.skipped)) lines.push(`  skipped   ${count} × ${reason}`);
  for (const [reason, count] of Object.entries(report.problemCounts)) lines.push(`  problem   ${count} × ${reason}`);
  for (const { file, line, reason, detail } of report.problems) {
    lines.push(`    ${line === null ? file : `${file}:${line}`}: ${reason}${detail === undefined ? '' : ` (${detail})`}`);
  }
  const listed = report.problems.length;
  const total = Object.values(report.problemCounts).reduce((sum, count) => sum + count, 0);
  if (total > listed) lines.push(`    … and ${total - listed} more`);
  for (const { name, error } of report.failures) lines.push(`  FAILED    ${name}: ${error}`);
  return lines.join('\n');
}
