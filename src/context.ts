import type { Config } from './config.ts';
import type { EventLog } from './events/event-log.ts';
import type { Logger } from './log.ts';
import { AgentLoader } from './modules/agent/agent.loader.ts';
import { ApiKeyLoader } from './modules/api-key/api-key.loader.ts';
import type { Caller } from './modules/caller.ts';
import { EventLoader } from './modules/event/event.loader.ts';
import { CallsInFlight } from './modules/idempotency/calls-in-flight.service.ts';
import { type AppendQueue, createAppendQueue } from './modules/message/append-queue.service.ts';
import { MessageLoader, type MessagePlace, type MessageRow } from './modules/message/message.loader.ts';
import type { RateLimitState } from './modules/rate-limit/rate-limit.rules.ts';
import { SearchLoader } from './modules/search/search.loader.ts';
import { SessionLoader, type SessionRow } from './modules/session/session.loader.ts';
import { SessionLists } from './modules/session-list/session-list.service.ts';
import { UsageLoader } from './modules/usage/usage.loader.ts';
import type { Viewer } from './modules/viewer/viewer.rules.ts';
import type { Database, Executor, OperationReads } from './postgres/database.ts';
import type { Page } from './postgres/keyset.ts';
import type { MemoryBudget, ResponseMemory } from './postgres/response-memory.ts';
import { SharedReads } from './postgres/shared-reads.ts';

/** What resolvers get: one context for each operation, and a new one for each event of a subscription. */
export interface Context {
  readonly requestId: string;
  /** Whether the caller got REQUEST_TIMEOUT: no further mutation field may start. */
  readonly isTimedOut: () => boolean;
  readonly viewer: Viewer;
  /** The first argument of services. */
  readonly caller: Caller;
  readonly config: Config;
  readonly events: EventLog;
  /** The cursor of the client's last event, if the transport carries it (`Last-Event-ID`); replaces a subscription's `after`. */
  readonly resumeAfter?: string;
  readonly load: Loaders;
  /** Shared by all callers of the process. */
  readonly sessionLists: SessionLists;
  /** The viewer's rate limits and what remains of them. */
  readonly rateLimits: () => Promise<readonly RateLimitState[]>;
}

/** The loaders of one operation. */
export interface Loaders {
  readonly sessions: SessionLoader;
  readonly messages: MessageLoader;
  readonly events: EventLoader;
  readonly agents: AgentLoader;
  readonly usage: UsageLoader;
  readonly search: SearchLoader;
  readonly apiKeys: ApiKeyLoader;
}

/** The parts that all contexts share. */
export interface ContextSources {
  readonly config: Config;
  readonly database: Database;
  readonly events: EventLog;
  readonly rateLimiter: { states(viewer: Viewer): Promise<readonly RateLimitState[]> };
  readonly log: Logger;
  /** Bounds the rows of statements that operations share; without it each operation sends its own. */
  readonly memory?: ResponseMemory;
}

/** The operation that a context is made for. */
export interface ContextOrigin {
  readonly requestId: string;
  readonly access: { readonly viewer: Viewer };
  /** The cursor of the client's last event, such as the `Last-Event-ID` of a request for an event stream. */
  readonly resumeAfter?: string;
  /** Whether the caller got REQUEST_TIMEOUT; never by default. */
  readonly isTimedOut?: () => boolean;
  /** Pays for the rows of the operation; without it they are not counted. */
  readonly budget?: MemoryBudget;
}

/** Statements that operations may share: reads by key, which many operations send at the same time. */
function createSharedReads(database: Database, memory: ResponseMemory) {
  // `maxKeys` rows of the largest size use about as much memory as one response may.
  const sessionById = new SharedReads<string, SessionRow | null>({ database, memory, maxKeys: 32 });
  const messageByPlace = new SharedReads<MessagePlace, MessageRow | null>({ database, memory, maxKeys: 32 });
  const messagesOfSession = new SharedReads<string, Page<MessageRow>>({ database, memory, maxKeys: 8 });
  return (reads: OperationReads) => ({
    sessions: sessionById.forOperation(reads),
    messages: { byPlace: messageByPlace.forOperation(reads), ofSession: messagesOfSession.forOperation(reads) },
  });
}

/** What the loaders of one operation read from. */
interface LoaderSources {
  readonly executor: Executor;
  readonly models: Database['models'];
  readonly viewer: Viewer;
  readonly events: EventLog;
  /** Without it, nothing is read together with other operations. */
  readonly shared: ReturnType<ReturnType<typeof createSharedReads>> | undefined;
}

/** Makes each loader when it is first used: most operations use one or two. */
class OperationLoaders implements Loaders {
  readonly #sources: LoaderSources;
  #sessions?: SessionLoader;
  #messages?: MessageLoader;
  #events?: EventLoader;
  #agents?: AgentLoader;
  #usage?: UsageLoader;
  #search?: SearchLoader;
  #apiKeys?: ApiKeyLoader;

  constructor(sources: LoaderSources) {
    this.#sources = sources;
  }

  get sessions(): SessionLoader {
    const { executor, viewer, shared } = this.#sources;
    this.#sessions ??= new SessionLoader(executor, viewer, shared?.sessions);
    return this.#sessions;
  }

  get messages(): MessageLoader {
    const { executor, viewer, shared } = this.#sources;
    this.#messages ??= new MessageLoader(executor, viewer, shared?.messages);
    return this.#messages;
  }

  get events(): EventLoader {
    const { executor, viewer, events } = this.#sources;
    this.#events ??= new EventLoader(executor, viewer, events);
    return this.#events;
  }

  get agents(): AgentLoader {
    this.#agents ??= new AgentLoader(this.#sources.executor, this.#sources.viewer);
    return this.#agents;
  }

  get usage(): UsageLoader {
    this.#usage ??= new UsageLoader(this.#sources.executor, this.#sources.viewer);
    return this.#usage;
  }

  get search(): SearchLoader {
    this.#search ??= new SearchLoader(this.#sources.executor, this.#sources.viewer);
    return this.#search;
  }

  get apiKeys(): ApiKeyLoader {
    this.#apiKeys ??= new ApiKeyLoader(this.#sources.models, this.#sources.viewer);
    return this.#apiKeys;
  }
}

/** The parts of all contexts, made once. */
interface ContextParts extends ContextSources {
  readonly callsInFlight: CallsInFlight;
  readonly appendQueue: AppendQueue;
  readonly sessionLists: SessionLists;
  readonly shareReads: ReturnType<typeof createSharedReads> | undefined;
}

/** Makes its parts when they are first used: most operations use one or two. */
class OperationContext implements Context {
  readonly #parts: ContextParts;
  readonly #origin: ContextOrigin;
  #caller?: Caller;
  #load?: Loaders;

  constructor(parts: ContextParts, origin: ContextOrigin) {
    this.#parts = parts;
    this.#origin = origin;
  }

  get requestId(): string {
    return this.#origin.requestId;
  }

  get viewer(): Viewer {
    return this.#origin.access.viewer;
  }

  get resumeAfter(): string | undefined {
    return this.#origin.resumeAfter;
  }

  get config(): Config {
    return this.#parts.config;
  }

  get events(): EventLog {
    return this.#parts.events;
  }

  get sessionLists(): SessionLists {
    return this.#parts.sessionLists;
  }

  get caller(): Caller {
    const { database, config, events, callsInFlight, appendQueue } = this.#parts;
    this.#caller ??= {
      viewer: this.viewer,
      database,
      models: database.models,
      settings: config.sessions,
      eventsWritten: () => events.wake(),
      callsInFlight,
      appendQueue,
    };
    return this.#caller;
  }

  get load(): Loaders {
    if (this.#load === undefined) {
      const { database, events, shareReads } = this.#parts;
      const { budget } = this.#origin;
      const reads = budget && database.forOperation(budget);
      const shared = reads && shareReads?.(reads);
      this.#load = new OperationLoaders({ executor: reads ?? database, models: database.models, viewer: this.viewer, events, shared });
    }
    return this.#load;
  }

  isTimedOut(): boolean {
    return this.#origin.isTimedOut?.() ?? false;
  }

  rateLimits(): Promise<readonly RateLimitState[]> {
    return this.#parts.rateLimiter.states(this.viewer);
  }
}

/** Returns the function that makes the context of an operation. */
export function createContextFactory(sources: ContextSources): (origin: ContextOrigin) => Context {
  const { config, database, events, log, memory } = sources;
  const parts: ContextParts = {
    ...sources,
    callsInFlight: new CallsInFlight(),
    appendQueue: createAppendQueue(database, config.limits.requestTimeoutMs),
    sessionLists: new SessionLists({ database, events, log }),
    shareReads: memory && createSharedReads(database, memory),
  };
  return origin => new OperationContext(parts, origin);
}
