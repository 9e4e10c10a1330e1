/** A tool that the agent calls in conversations about a topic. Texts may hold `{slots}`, see vocabulary.ts. */
export interface TopicTool {
  readonly name: string;
  readonly arguments: Readonly<Record<string, string>>;
  /** Results of calls that succeed. */
  readonly results: readonly [string, ...string[]];
  /** The result of a call that fails. */
  readonly failure: string;
}

/** The sentences from which conversations about one subject are made. Texts may hold `{slots}`, see vocabulary.ts. */
export interface Topic {
  readonly category: string;
  readonly project: string;
  readonly language: 'en' | 'ru' | 'zh' | 'es' | 'de';
  readonly tags: readonly [string, ...string[]];
  readonly labels: readonly [string, ...string[]];
  readonly titles: readonly [string, ...string[]];
  readonly tasks: readonly [string, ...string[]];
  /** A user's first message. */
  readonly openings: readonly [string, ...string[]];
  /** A user's later messages. */
  readonly requests: readonly [string, ...string[]];
  readonly answers: readonly [string, ...string[]];
  /** Sentences that follow an answer. */
  readonly details: readonly [string, ...string[]];
  readonly thoughts: readonly [string, ...string[]];
  readonly tools: readonly [TopicTool, ...TopicTool[]];
}
