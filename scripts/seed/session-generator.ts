import { v5 as uuidV5 } from 'uuid';
import type { Session, SessionActivity } from '../../src/generated/prisma/client.ts';
import {
  deriveTitle,
  effectiveTitle,
  isTerminal,
  type SessionPriority,
  type SessionStatus,
  TOKEN_LIMIT_REASON,
} from '../../src/modules/session/session.rules.ts';
import { canonicalKey, type KeyRules, type SessionKind, sessionKind } from '../../src/modules/session-key/session-key.rules.ts';
import { drawCast, fillSlots, generateConversation, type SeedMessage, type SeedModel } from './conversation-generator.ts';
import { TOPICS, type Topic } from './conversation-topics.ts';
import { createRandomSource, type RandomSource } from './random-source.ts';

/** What the generated data depends on, and all it depends on. */
export interface SeedOptions {
  /** How many sessions. */
  readonly sessions: number;
  /** How many messages each of them has. */
  readonly messages: number;
  /** Another seed gives other sessions with other ids. */
  readonly seed: number;
  /** The present of the data: everything happened in the 30 days before it. */
  readonly until: Date;
  readonly keys: KeyRules;
}

/** A session with all its rows, in the shape of the tables. */
export interface SeedSession {
  readonly session: Session;
  readonly activity: SessionActivity;
  readonly messages: readonly SeedMessage[];
}

/** Where a session ends up besides its status. */
type Fate = 'kept' | 'archived' | 'pinned' | 'trashed' | 'superseded';

/** What is decided of a session before its details are drawn. */
interface SessionOutline {
  readonly kind: SessionKind;
  readonly status: SessionStatus;
  readonly fate: Fate;
}

interface AgentProfile {
  readonly agentId: string;
  readonly categories: readonly string[];
}

/** An earlier session, as later ones refer to it: as a parent, or as the one that took their key over. */
interface Earlier {
  readonly session: Session;
  readonly lastActivityAt: Date;
  readonly depth: number;
}

/** What goes on from one session to the next. */
interface Memory {
  readonly agents: readonly [AgentProfile, ...AgentProfile[]];
  readonly recent: Earlier[];
  /** By key: the earliest session that holds or held it; a reset session before it ends where that one begins. */
  readonly earliestOfKey: Map<string, Session>;
  readonly labels: Map<string, number>;
}

/** Changing it changes every id; the ids of one seed stay the same from release to release. */
const SEED_NAMESPACE = '6a0f6f3c-6f0a-5c0e-9d55-3f4f9a1c7b21';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WINDOW = 30 * DAY;
/** Longer than STALLED_AFTER is where nobody configures it. */
const LEAST_STALLED = 6 * MINUTE;
/** A session younger than this has no open children yet. */
const YOUNGEST_PARENT = 10 * MINUTE;
/** How many sessions back a parent or the next holder of a key is looked for. */
const REMEMBERED = 64;
const DEEPEST = 3;
/** How much likelier a topic in English is than one in another language. */
const ENGLISH_WEIGHT = 4;
/** MAX_TOKEN_LIMIT as the server has it where nobody configures it. */
const HIGHEST_TOKEN_LIMIT = 10_000_000;

/** The first sessions show every status, kind and fate, so that a small seed has them all. */
const SHOWCASE: readonly SessionOutline[] = [
  { kind: 'MAIN', status: 'ACTIVE', fate: 'pinned' },
  { kind: 'SUBAGENT', status: 'WORKING', fate: 'kept' },
  { kind: 'SUBAGENT', status: 'SPAWNING', fate: 'kept' },
  { kind: 'DIRECT', status: 'ACTIVE', fate: 'kept' },
  { kind: 'GROUP', status: 'ACTIVE', fate: 'kept' },
  { kind: 'SUBAGENT', status: 'COMPLETED', fate: 'kept' },
  { kind: 'CRON', status: 'COMPLETED', fate: 'kept' },
  { kind: 'OTHER', status: 'STALLED', fate: 'kept' },
  { kind: 'SUBAGENT', status: 'FAILED', fate: 'kept' },
  { kind: 'DIRECT', status: 'ENDED', fate: 'archived' },
  { kind: 'HOOK', status: 'TERMINATED', fate: 'kept' },
  { kind: 'NODE', status: 'ACTIVE', fate: 'kept' },
  { kind: 'GLOBAL', status: 'ACTIVE', fate: 'kept' },
  { kind: 'UNKNOWN', status: 'ENDED', fate: 'kept' },
  { kind: 'DIRECT', status: 'ENDED', fate: 'superseded' },
  { kind: 'OTHER', status: 'COMPLETED', fate: 'trashed' },
  { kind: 'MAIN', status: 'ENDED', fate: 'superseded' },
];

const MODELS: readonly [readonly [SeedModel, number], ...(readonly [SeedModel, number])[]] = [
  [{ provider: 'anthropic', model: 'claude-sonnet-4-5', inputPrice: 3, outputPrice: 15, cacheReadPrice: 0.3, cacheWritePrice: 3.75 }, 40],
  [{ provider: 'anthropic', model: 'claude-haiku-4-5', inputPrice: 1, outputPrice: 5, cacheReadPrice: 0.1, cacheWritePrice: 1.25 }, 20],
  [{ provider: 'openai', model: 'gpt-5', inputPrice: 1.25, outputPrice: 10, cacheReadPrice: 0.125, cacheWritePrice: 1.25 }, 20],
  [{ provider: 'google', model: 'gemini-2.5-pro', inputPrice: 1.25, outputPrice: 10, cacheReadPrice: 0.31, cacheWritePrice: 1.25 }, 12],
  [{ provider: 'ollama', model: 'qwen3:32b', inputPrice: 0, outputPrice: 0, cacheReadPrice: 0, cacheWritePrice: 0 }, 8],
];

const FAILURES = [
  'The model provider answered 529 three times in a row',
  'Tool exec exited with code 137',
  'Context window exceeded',
  TOKEN_LIMIT_REASON,
] as const;

/**
 * The sessions of a seed, one after the other, parents before their children.
 * The same options give the same rows; with more sessions the first ones stay the same. Ids depend on the seed and the number of
 * the session alone. Keys and labels are unique per agent among the sessions neither superseded nor in the trash.
 */
export function* generateSessions(options: SeedOptions): Generator<SeedSession> {
  const memory: Memory = { agents: agentProfiles(options.keys.defaultAgent), recent: [], earliestOfKey: new Map(), labels: new Map() };
  for (let index = 0; index < options.sessions; index += 1) yield generateSession(options, memory, index);
}

function agentProfiles(defaultAgent: string): readonly [AgentProfile, ...AgentProfile[]] {
  const others: readonly AgentProfile[] = [
    { agentId: 'coder', categories: ['engineering'] },
    { agentId: 'researcher', categories: ['research'] },
    { agentId: 'ops', categories: ['operations'] },
    { agentId: 'support', categories: ['support'] },
    { agentId: 'writer', categories: ['research', 'personal'] },
  ];
  return [
    { agentId: defaultAgent, categories: ['personal', 'engineering', 'operations'] },
    ...others.filter(profile => profile.agentId !== defaultAgent),
  ];
}

function drawOutline(random: RandomSource): SessionOutline {
  const kind = random.weighted<SessionKind>([
    ['DIRECT', 27],
    ['SUBAGENT', 24],
    ['CRON', 15],
    ['GROUP', 13],
    ['OTHER', 10],
    ['HOOK', 4],
    ['NODE', 3],
    ['MAIN', 3],
    ['GLOBAL', 0.5],
    ['UNKNOWN', 0.5],
  ]);
  const status = random.weighted<SessionStatus>([
    ['COMPLETED', 42],
    ['ENDED', 22],
    ['ACTIVE', 14],
    ['FAILED', 8],
    ['WORKING', 5],
    ['STALLED', 4],
    ['TERMINATED', 4],
    ['SPAWNING', 1],
  ]);
  const fate = random.weighted<Fate>([
    ['kept', 82],
    ['archived', 7],
    ['pinned', 3],
    ['trashed', 4],
    ['superseded', 4],
  ]);
  return { kind, status, fate };
}

function generateSession(options: SeedOptions, memory: Memory, index: number): SeedSession {
  const random = createRandomSource(options.seed, index);
  const id = uuidV5(`${options.seed}/${index}`, SEED_NAMESPACE);
  const drawn = SHOWCASE[index] ?? drawOutline(random);
  const picked = index < SHOWCASE.length ? memory.agents[0] : random.pick(memory.agents);
  const profile = isOnlyOneOfItsKey(drawn.kind) ? otherThanDefault(picked, memory) : picked;
  const holder = isOnlyOneOfItsKey(drawn.kind)
    ? (memory.earliestOfKey.get(`${profile.agentId} ${soleKey(drawn.kind, profile.agentId, options.keys)}`) ?? null)
    : null;
  const successor = findSuccessor(memory, drawn, holder, options, random);
  const outline = settle(drawn, holder, successor);
  const parent = outline.kind === 'SUBAGENT' ? findParent(memory, outline.status, options.until, random) : null;
  const agentId = successor?.agentId ?? profile.agentId;

  const times = drawTimes(outline, { until: options.until, parent, successor }, random);
  const topic = drawTopic(profile, random);
  const cast = drawCast(random);
  const model = random.weighted<SeedModel>(MODELS);
  const messages = generateConversation(
    {
      sessionId: id,
      agentId,
      topic,
      cast,
      model,
      messageCount: options.messages,
      instructed: outline.kind === 'CRON' || outline.kind === 'SUBAGENT' || outline.kind === 'HOOK',
      branches: random.chance(0.08),
      from: times.startedAt,
      to: times.lastMessageAt,
    },
    random,
  );

  const channel = successor === null ? drawChannel(outline.kind, random) : successor.channel;
  const address = addressOf(outline.kind, channel, options.seed * 1_000_000 + index);
  const chatType = outline.kind === 'GROUP' ? address.chatType : outline.kind === 'DIRECT' ? 'direct' : null;
  const key = successor === null ? keyOf(outline.kind, { agentId, id, address, channel, keys: options.keys }) : successor.key;
  const say = (text: string) => fillSlots(text, cast, random);
  const question = messages.find(message => message.role === 'USER')?.content;
  const named = {
    id,
    givenTitle: random.chance(0.25) ? say(random.pick(topic.titles)) : null,
    displayName: successor !== null ? successor.displayName : outline.kind === 'GROUP' ? `${channel}:#${topic.project}-${index}` : null,
    subject: outline.kind === 'GROUP' && random.chance(0.4) ? say(random.pick(topic.titles)) : null,
    derivedTitle: question === undefined ? null : deriveTitle(question),
  };
  const delegated = outline.kind === 'SUBAGENT' || outline.kind === 'CRON' || outline.kind === 'HOOK';
  const expectedDurationMs = delegated && random.chance(0.6) ? BigInt(random.integer(5, 90) * MINUTE) : null;
  const sums = sumUsage(messages);
  const statusReason = reasonOf(outline, sums.totalTokens, successor, random);

  const session: Session = {
    id,
    externalId: null,
    agentId,
    key,
    kind: successor === null ? sessionKind(key, chatType, options.keys) : successor.kind,
    type: typeOf(outline.kind, random),
    status: outline.status,
    statusReason,
    title: effectiveTitle(named),
    givenTitle: named.givenTitle,
    derivedTitle: named.derivedTitle,
    label: successor === null && random.chance(0.2) ? takeLabel(memory, agentId, random.pick(topic.labels)) : null,
    displayName: named.displayName,
    subject: named.subject,
    category: random.chance(0.8) ? topic.category : null,
    tags: drawTags(topic, random),
    channel,
    nodeId: outline.kind === 'NODE' ? `node-${random.pick(['laptop', 'phone', 'rack-2'])}` : null,
    outputPath: outline.kind === 'CRON' && random.chance(0.5) ? `reports/${topic.project}/${index}.md` : null,
    priority: random.weighted<SessionPriority>([
      ['NORMAL', 62],
      ['HIGH', 18],
      ['LOW', 14],
      ['CRITICAL', 6],
    ]),
    task: delegated || random.chance(0.3) ? say(random.pick(topic.tasks)) : null,
    prompt: delegated && question !== undefined ? question : null,
    tokenLimit: drawTokenLimit(statusReason, sums.totalTokens, random),
    model: model.model,
    modelProvider: model.provider,
    settings: drawSettings(random),
    settingsExtra: {},
    origin:
      successor !== null
        ? successor.origin
        : channel === null
          ? null
          : { provider: channel, surface: channel, chatType, from: `${channel}:${address.peer}` },
    delivery: successor !== null ? successor.delivery : channel === null ? null : { channel, to: address.peer },
    metadata: { source: 'seed', project: topic.project, language: topic.language, ticket: cast.ticket ?? null },
    parentId: parent?.session.id ?? null,
    compactionCount: 0,
    compactedThrough: 0n,
    workingSince: null,
    version: 1 + (isTerminal(outline.status) ? 1 : 0) + (outline.fate === 'kept' || outline.fate === 'superseded' ? 0 : 1),
    expectedDurationMs,
    createdAt: times.startedAt,
    startedAt: times.startedAt,
    expectedCompletionAt: expectedDurationMs === null ? null : new Date(times.startedAt.getTime() + Number(expectedDurationMs)),
    endedAt: times.endedAt,
    archivedAt: outline.fate === 'archived' ? times.fateAt : null,
    pinnedAt: outline.fate === 'pinned' ? times.fateAt : null,
    supersededAt: outline.fate === 'superseded' ? times.fateAt : null,
    deletedAt: outline.fate === 'trashed' ? times.fateAt : null,
  };
  const tasks = delegated ? random.integer(3, 12) : null;
  const percent = outline.status === 'COMPLETED' ? 100 : outline.status === 'SPAWNING' || tasks === null ? 0 : random.integer(5, 95);
  const activity: SessionActivity = {
    sessionId: id,
    agentId,
    listed: session.deletedAt === null && session.supersededAt === null,
    updatedAt: new Date(Math.max(...[times.lastActivityAt, times.endedAt, times.fateAt].map(instant => instant?.getTime() ?? 0))),
    lastActivityAt: times.lastActivityAt,
    lastMessageAt: messages.at(-1)?.createdAt ?? null,
    messageCount: messages.length,
    nextPosition: BigInt(messages.length + 1),
    leafPosition: messages.at(-1)?.position ?? null,
    ...sums,
    contextUsed: contextUsed(messages),
    progressPercent: percent,
    tasksCompleted: tasks === null ? null : Math.floor((tasks * percent) / 100),
    tasksTotal: tasks,
    currentTask: outline.status === 'WORKING' ? say(random.pick(topic.tasks)) : null,
  };

  remember(memory, { session, lastActivityAt: times.lastActivityAt, depth: parent === null ? 0 : parent.depth + 1 });
  return { session, activity, messages };
}

/** Kinds of which an agent has one session at a time: the others of its key came before it. */
function isOnlyOneOfItsKey(kind: SessionKind): boolean {
  return kind === 'MAIN' || kind === 'GLOBAL' || kind === 'UNKNOWN';
}

/** The default agent's one main session is for the people who come with their own: a main session cannot be deleted to make room. */
function otherThanDefault(profile: AgentProfile, { agents: [first, second = first] }: Memory): AgentProfile {
  return profile === first ? second : profile;
}

/** The session that took the key over from the one to be made, or null where there is none. */
function findSuccessor(
  memory: Memory,
  drawn: SessionOutline,
  holder: Session | null,
  options: SeedOptions,
  random: RandomSource,
): Session | null {
  const hasHistory = (session: Session) => options.until.getTime() - session.createdAt.getTime() < WINDOW - 3 * DAY;
  if (holder !== null) return hasHistory(holder) ? holder : null;
  if (drawn.fate !== 'superseded') return null;
  const [first, ...rest] = memory.recent
    .map(({ session }) => session)
    .filter(({ kind, deletedAt }) => (kind === 'DIRECT' || kind === 'GROUP') && deletedAt === null)
    .map(session => memory.earliestOfKey.get(`${session.agentId} ${session.key}`) ?? session)
    .filter(hasHistory);
  return first === undefined ? null : random.pick([first, ...rest]);
}

/** The outline as it can stand: superseded exactly where there is a successor, and never a second living holder of a key. */
function settle(drawn: SessionOutline, holder: Session | null, successor: Session | null): SessionOutline {
  if (successor !== null) return { kind: successor.kind, status: 'ENDED', fate: 'superseded' };
  const kind = holder === null ? drawn.kind : 'OTHER';
  const lives = drawn.fate === 'superseded' || (isOnlyOneOfItsKey(kind) && drawn.fate === 'trashed');
  return { kind, status: kind === 'MAIN' ? 'ACTIVE' : drawn.status, fate: lives ? 'kept' : drawn.fate };
}

function findParent(memory: Memory, status: SessionStatus, until: Date, random: RandomSource): Earlier | null {
  const [first, ...rest] = memory.recent.filter(
    ({ session, depth }) =>
      depth < DEEPEST &&
      session.deletedAt === null &&
      session.supersededAt === null &&
      (isTerminal(status) || (!isTerminal(session.status) && until.getTime() - session.startedAt.getTime() > YOUNGEST_PARENT)),
  );
  return first === undefined ? null : random.pick([first, ...rest]);
}

function remember(memory: Memory, earlier: Earlier): void {
  memory.recent.push(earlier);
  if (memory.recent.length > REMEMBERED) memory.recent.shift();
  const { session } = earlier;
  if (session.key !== null && session.deletedAt === null) memory.earliestOfKey.set(`${session.agentId} ${session.key}`, session);
}

interface SessionTimes {
  readonly startedAt: Date;
  readonly lastMessageAt: Date;
  readonly lastActivityAt: Date;
  readonly endedAt: Date | null;
  /** When it was archived, pinned, superseded or put into the trash. */
  readonly fateAt: Date | null;
}

function drawTimes(
  outline: SessionOutline,
  place: { readonly until: Date; readonly parent: Earlier | null; readonly successor: Session | null },
  random: RandomSource,
): SessionTimes {
  const until = place.until.getTime();
  const earliest = until - WINDOW;
  const between = (lowest: number, highest: number) => Math.round(lowest + random.fraction() * (highest - lowest));
  // Small fractions are likelier: more happened lately, and most sessions are short.
  const skewed = (lowest: number, highest: number) => Math.round(lowest + random.fraction() ** 2.2 * (highest - lowest));

  let last = until - quietFor(outline.status, between, skewed);
  let start =
    last -
    (outline.status === 'SPAWNING'
      ? between(2 * SECOND, 20 * SECOND)
      : skewed(2 * MINUTE, outline.kind === 'CRON' ? 40 * MINUTE : 20 * HOUR));
  if (place.parent !== null) {
    const from = place.parent.session.startedAt.getTime();
    if (isTerminal(outline.status)) {
      // A child is born while its parent works.
      start = between(from, place.parent.lastActivityAt.getTime());
      const planned = start + skewed(MINUTE, 3 * HOUR);
      last = planned < until ? planned : between(start, until);
    } else if (start < from) {
      // An open one works now, and began after its parent.
      last = from < last ? last : between(from, until - (outline.status === 'STALLED' ? LEAST_STALLED : 0));
      start = between(from, last);
    }
  }
  if (place.successor !== null) {
    last = place.successor.createdAt.getTime() - between(MINUTE, 2 * HOUR);
    start = last - skewed(10 * MINUTE, 2 * DAY);
  }
  start = Math.max(start, earliest);
  last = Math.max(last, start);

  const ended = isTerminal(outline.status) ? Math.min(last + between(200, 20 * SECOND), until) : null;
  const settled = ended ?? last;
  const fate = outline.fate === 'kept' ? null : place.successor === null ? skewed(settled, until) : place.successor.createdAt.getTime();
  const endedAt = place.successor === null ? ended : place.successor.createdAt.getTime();
  return {
    startedAt: new Date(start),
    // The last step of a delegated run is often a report of progress rather than a message.
    lastMessageAt: new Date(random.chance(0.25) ? between(Math.max(start, last - 5 * SECOND), last) : last),
    lastActivityAt: new Date(last),
    endedAt: endedAt === null ? null : new Date(endedAt),
    fateAt: fate === null ? null : new Date(fate),
  };
}

/** Milliseconds from the last activity to the present, as each status has it. */
function quietFor(
  status: SessionStatus,
  between: (lowest: number, highest: number) => number,
  skewed: (lowest: number, highest: number) => number,
): number {
  switch (status) {
    case 'SPAWNING':
      return between(SECOND, 40 * SECOND);
    case 'WORKING':
      return between(SECOND, 4 * MINUTE);
    case 'STALLED':
      return skewed(LEAST_STALLED, DAY);
    case 'ACTIVE':
      return skewed(MINUTE, 12 * DAY);
    default:
      return skewed(MINUTE, WINDOW - 2 * DAY);
  }
}

function drawTopic(profile: AgentProfile, random: RandomSource): Topic {
  const [first, ...rest] = TOPICS.filter(topic => profile.categories.includes(topic.category)).map(
    topic => [topic, topic.language === 'en' ? ENGLISH_WEIGHT : 1] as const,
  );
  return first === undefined ? random.pick(TOPICS) : random.weighted<Topic>([first, ...rest]);
}

function drawTags(topic: Topic, random: RandomSource): string[] {
  return topic.tags.filter(() => random.chance(0.4));
}

function drawChannel(kind: SessionKind, random: RandomSource): string | null {
  if (kind === 'GROUP') return random.pick(['discord', 'slack', 'telegram']);
  if (kind === 'DIRECT') return random.pick(['telegram', 'whatsapp', 'signal', 'webchat', 'discord']);
  return kind === 'MAIN' ? 'webchat' : null;
}

/** Who is at the other end of a channel; the number keeps them apart. */
function addressOf(
  kind: SessionKind,
  channel: string | null,
  number: number,
): { readonly chatType: 'direct' | 'group' | 'channel'; readonly peer: string } {
  if (kind !== 'GROUP') return { chatType: 'direct', peer: `user-${number}` };
  return channel === 'telegram' ? { chatType: 'group', peer: `-100${number}` } : { chatType: 'channel', peer: `c${number}` };
}

function keyOf(
  kind: SessionKind,
  of: {
    readonly agentId: string;
    readonly id: string;
    readonly address: { readonly chatType: string; readonly peer: string };
    readonly channel: string | null;
    readonly keys: KeyRules;
  },
): string | null {
  switch (kind) {
    case 'OTHER':
      return null;
    case 'DIRECT':
    case 'GROUP':
      return canonicalKey(`${of.channel}:${of.address.chatType}:${of.address.peer}`, of.keys, of.agentId).key;
    case 'SUBAGENT':
      return canonicalKey(`subagent:${of.id}`, of.keys, of.agentId).key;
    case 'HOOK':
      return canonicalKey(`hook:${of.id}`, of.keys, of.agentId).key;
    case 'NODE':
      return canonicalKey(`node-${of.id}`, of.keys, of.agentId).key;
    case 'CRON':
      return canonicalKey(`cron:nightly:run:${of.id}`, of.keys, of.agentId).key;
    default:
      return soleKey(kind, of.agentId, of.keys);
  }
}

/** The key of a kind of which an agent has one session at a time. */
function soleKey(kind: SessionKind, agentId: string, keys: KeyRules): string {
  return kind === 'MAIN' ? canonicalKey(`agent:${agentId}:main`, keys).key : kind.toLowerCase();
}

function typeOf(kind: SessionKind, random: RandomSource): string {
  if (kind === 'CRON') return 'cron';
  if (kind === 'SUBAGENT') return 'subagent';
  return kind === 'OTHER' ? random.pick(['interactive', 'roundtable']) : 'chat';
}

/** The label, with a number behind it where the agent has used it before. */
function takeLabel(memory: Memory, agentId: string, label: string): string {
  const name = `${agentId} ${label}`;
  const uses = (memory.labels.get(name) ?? 0) + 1;
  memory.labels.set(name, uses);
  return uses === 1 ? label : `${label}-${uses}`;
}

function reasonOf(outline: SessionOutline, totalTokens: bigint, successor: Session | null, random: RandomSource): string | null {
  if (successor !== null) return 'reset';
  switch (outline.status) {
    case 'FAILED': {
      const reason = random.pick(FAILURES);
      // Without usage there is no limit to have been reached.
      return reason === TOKEN_LIMIT_REASON && totalTokens === 0n ? FAILURES[0] : reason;
    }
    case 'TERMINATED':
      return random.pick(['Stopped by the operator', 'Superseded by a newer request']);
    case 'STALLED':
      return 'No activity for 5 minutes';
    default:
      return null;
  }
}

/** A limit with the usage below its 95 %, unless it is what the session failed of. */
function drawTokenLimit(statusReason: string | null, totalTokens: bigint, random: RandomSource): number | null {
  const used = Number(totalTokens);
  if (statusReason === TOKEN_LIMIT_REASON) return Math.min(HIGHEST_TOKEN_LIMIT, Math.max(1, Math.floor(used / 0.97)));
  if (!random.chance(0.35)) return null;
  const roomy = Math.ceil((used * (1.2 + 2 * random.fraction())) / 50_000) * 50_000;
  return roomy > HIGHEST_TOKEN_LIMIT ? null : Math.max(roomy, 100_000);
}

function drawSettings(random: RandomSource): Record<string, string | number> {
  const settings: Record<string, string | number> = {};
  if (random.chance(0.4)) settings.thinkingLevel = random.pick(['off', 'low', 'medium', 'high']);
  if (random.chance(0.15)) settings.verboseLevel = random.pick(['off', 'on', 'full']);
  if (random.chance(0.1)) settings.sendPolicy = random.pick(['allow', 'deny']);
  if (random.chance(0.3)) settings.contextTokens = 200_000;
  return settings;
}

function sumUsage(messages: readonly SeedMessage[]) {
  const sums = { inputTokens: 0n, outputTokens: 0n, cacheReadTokens: 0n, cacheWriteTokens: 0n, totalTokens: 0n, costNanoUsd: 0n };
  for (const message of messages) {
    sums.inputTokens += message.inputTokens ?? 0n;
    sums.outputTokens += message.outputTokens ?? 0n;
    sums.cacheReadTokens += message.cacheReadTokens ?? 0n;
    sums.cacheWriteTokens += message.cacheWriteTokens ?? 0n;
    sums.totalTokens += message.totalTokens ?? 0n;
    sums.costNanoUsd += message.costNanoUsd ?? 0n;
  }
  return sums;
}

/** What the last call of the model had before it, and what it wrote: all of its tokens. */
function contextUsed(messages: readonly SeedMessage[]): bigint | null {
  return messages.findLast(message => message.totalTokens !== null)?.totalTokens ?? null;
}
