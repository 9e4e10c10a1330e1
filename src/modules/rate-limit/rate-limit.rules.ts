/** What is counted apart from one another, each over a minute. */
export const RATE_CLASSES = ['requests', 'writes', 'creations', 'management'] as const;

/** requests: queries, subscribes and what is none of the others; writes: what runtimes do all day; creations: of sessions; management: the rest. */
export type RateClass = (typeof RATE_CLASSES)[number];

/** How many of each class one caller may do in a minute; 0 is as many as it likes. */
export type RateLimits = Readonly<Record<RateClass, number>>;

/** How much of each class one operation is. */
export type RateCharge = Readonly<Partial<Record<RateClass, number>>>;

/** Where a caller stands. */
export interface RateLimitState {
  readonly name: RateClass;
  readonly limit: number;
  /** Never negative. */
  readonly remaining: number;
  /** When all of it may be used again. */
  readonly resetAt: Date;
}

const CLASS_OF_MUTATION: Readonly<Record<string, RateClass>> = {
  appendMessage: 'writes',
  appendMessages: 'writes',
  appendLogs: 'writes',
  reportProgress: 'writes',
  createSession: 'creations',
  respawnSession: 'creations',
  forkSession: 'creations',
  resetSession: 'creations',
  killSession: 'management',
  compactSession: 'management',
  undoCompaction: 'management',
  deleteSession: 'management',
  restoreSession: 'management',
  pruneSessions: 'management',
  deleteMessage: 'management',
  createApiKey: 'management',
  revokeApiKey: 'management',
};

/** The class a mutation field counts in, once each time it stands in an operation. */
export function rateClassOf(mutationField: string): RateClass {
  return CLASS_OF_MUTATION[mutationField] ?? 'requests';
}
