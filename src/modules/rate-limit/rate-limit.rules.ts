/** Classes of operations. Each has its own limit per minute. */
export const RATE_CLASSES = ['requests', 'writes', 'creations', 'management'] as const;

/**
 * writes: the frequent mutations of agent runtimes, such as appending messages. creations: mutations that create sessions. management: other
 * mutations that need MANAGE or ADMIN. requests: queries, subscriptions and all other mutations.
 */
export type RateClass = (typeof RATE_CLASSES)[number];

/** Maximum operations of each class per caller and minute. 0 means unlimited. */
export type RateLimits = Readonly<Record<RateClass, number>>;

/** How many units of each class one GraphQL operation uses. */
export type RateCharge = Readonly<Partial<Record<RateClass, number>>>;

/** How much of one limit a caller has left. */
export interface RateLimitState {
  readonly name: RateClass;
  readonly limit: number;
  /** Never negative. */
  readonly remaining: number;
  /** When the full limit is available again. */
  readonly resetAt: Date;
}

const CLASS_OF_MUTATION: Readonly<Record<string, RateClass>> = {
  appendMessage: 'writes',
  appendMessages: 'writes',
  createSession: 'creations',
  deleteSession: 'management',
  restoreSession: 'management',
  deleteMessage: 'management',
  createApiKey: 'management',
  revokeApiKey: 'management',
};

/** The class of a mutation field. Each occurrence of the field in an operation uses one unit. */
export function rateClassOf(mutationField: string): RateClass {
  return CLASS_OF_MUTATION[mutationField] ?? 'requests';
}
