import type { Config } from './config.ts';
import type { EventLog } from './events/event-log.ts';
import type { Logger } from './log.ts';
import { AgentLoader } from './modules/agent/agent.loader.ts';
import { ApiKeyLoader } from './modules/api-key/api-key.loader.ts';
import type { Caller } from './modules/caller.ts';
import { EventLoader } from './modules/event/event.loader.ts';
import { CallsInFlight } from './modules/idempotency/calls-in-flight.service.ts';
import { createAppendQueue } from './modules/message/append-queue.service.ts';
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

/** Returns the function that makes the context of an operation. */
export function createContextFactory({ config, database, events, rateLimiter, log, memory }: ContextSources) {
  const callsInFlight = new CallsInFlight();
  const appendQueue = createAppendQueue(database, config.limits.requestTimeoutMs);
  const sessionLists = new SessionLists({ database, events, log });
  const shareReads = memory && createSharedReads(database, memory);
  return ({ requestId, access: { viewer }, resumeAfter, isTimedOut = () => false, budget }: ContextOrigin): Context => {
    const reads = budget && database.forOperation(budget);
    const executor = reads ?? database;
    const sources = { executor, models: database.models, viewer, events, shared: reads && shareReads?.(reads) };
    return {
      requestId,
      isTimedOut,
      viewer,
      caller: {
        viewer,
        database,
        models: database.models,
        settings: config.sessions,
        eventsWritten: () => events.wake(),
        callsInFlight,
        appendQueue,
      },
      config,
      events,
      resumeAfter,
      sessionLists,
      rateLimits: () => rateLimiter.states(viewer),
      load: new OperationLoaders(sources),
    };
  };
}
