import type { Config } from './config.ts';
import type { EventLog } from './events/event-log.ts';
import type { Logger } from './log.ts';
import { AgentLoader } from './modules/agent/agent.loader.ts';
import { ApiKeyLoader } from './modules/api-key/api-key.loader.ts';
import type { Caller } from './modules/caller.ts';
import { EventLoader } from './modules/event/event.loader.ts';
import { CallsInFlight } from './modules/idempotency/calls-in-flight.service.ts';
import { joinMessageReads, MessageLoader } from './modules/message/message.loader.ts';
import type { RateLimitState } from './modules/rate-limit/rate-limit.rules.ts';
import { SearchLoader } from './modules/search/search.loader.ts';
import { joinSessionReads, SessionLoader } from './modules/session/session.loader.ts';
import { SessionLists } from './modules/session-list/session-list.service.ts';
import { UsageLoader } from './modules/usage/usage.loader.ts';
import type { Viewer } from './modules/viewer/viewer.rules.ts';
import type { AnswerMemory, AnswerShare } from './postgres/answer-memory.ts';
import type { Database } from './postgres/database.ts';
import type { Tracer } from './postgres/tracer.ts';

/** What resolvers work with: one for each operation, and a fresh one for each event of a subscription. */
export interface Context {
  readonly requestId: string;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
  /** Whether the caller has been told REQUEST_TIMEOUT: nothing more may be begun that changes something. */
  readonly isTimeUp: () => boolean;
  readonly viewer: Viewer;
  /** What services are called with. */
  readonly caller: Caller;
  readonly config: Config;
  readonly events: EventLog;
  /** The cursor of the last event the client has, where its transport tells it; wins over a subscription's `after`. */
  readonly resumeAfter?: string;
  readonly load: Loaders;
  /** Shared by all callers of the process. */
  readonly sessionLists: SessionLists;
  /** Where the viewer stands with what it may do in a minute. */
  readonly rateLimits: () => Promise<readonly RateLimitState[]>;
}

/** Reads shared within one operation. */
export interface Loaders {
  readonly sessions: SessionLoader;
  readonly messages: MessageLoader;
  readonly events: EventLoader;
  readonly agents: AgentLoader;
  readonly usage: UsageLoader;
  readonly search: SearchLoader;
  readonly apiKeys: ApiKeyLoader;
}

/** What all contexts share. */
export interface ContextSources {
  readonly config: Config;
  readonly database: Database;
  readonly events: EventLog;
  readonly rateLimiter: { states(viewer: Viewer): Promise<readonly RateLimitState[]> };
  readonly log: Logger;
  /** Bounds what operations read; left out, each reads for itself. */
  readonly answers?: AnswerMemory;
  /** Where there is one, what is traced reads for itself: its trace shows its statements. */
  readonly tracer?: Pick<Tracer, 'isUnderWay'>;
}

/** What a context is made for: one operation of one caller. */
export interface ContextOrigin {
  readonly requestId: string;
  readonly signal: AbortSignal;
  readonly access: { readonly viewer: Viewer };
  /** The cursor of the last event the client has, such as the `Last-Event-ID` of a request for an event stream. */
  readonly resumeAfter?: string;
  /** Whether the caller has been told REQUEST_TIMEOUT; left out, it never is. */
  readonly isTimeUp?: () => boolean;
  /** What is read is held in it; left out, it is not counted. */
  readonly share?: AnswerShare;
}

/** Gives the function that makes a context for an operation. */
export function createContextFactory({ config, database, events, rateLimiter, log, answers, tracer }: ContextSources) {
  const callsInFlight = new CallsInFlight();
  const sessionLists = new SessionLists({ database, events, log });
  const joinSessions = answers && joinSessionReads({ database, answers });
  const joinMessages = answers && joinMessageReads({ database, answers });
  return ({ requestId, signal, access: { viewer }, resumeAfter, isTimeUp = () => false, share }: ContextOrigin): Context => {
    const holding = share && database.holding(share);
    const readable = holding ?? database;
    const own = holding && share && tracer?.isUnderWay() !== true ? { database: holding, share } : undefined;
    return {
      requestId,
      signal,
      isTimeUp,
      viewer,
      caller: { viewer, database, settings: config.sessions, eventsWritten: () => events.wake(), callsInFlight },
      config,
      events,
      resumeAfter,
      sessionLists,
      rateLimits: () => rateLimiter.states(viewer),
      load: {
        sessions: new SessionLoader(readable, viewer, own && joinSessions?.(own)),
        messages: new MessageLoader(readable, viewer, own && joinMessages?.(own)),
        events: new EventLoader(readable, viewer, events),
        agents: new AgentLoader(readable, viewer),
        usage: new UsageLoader(readable, viewer),
        search: new SearchLoader(readable, viewer),
        apiKeys: new ApiKeyLoader(readable, viewer),
      },
    };
  };
}
