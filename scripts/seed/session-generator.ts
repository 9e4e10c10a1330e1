import { v5 as uuidV5 } from 'uuid';
import type { Session, SessionActivity } from '../../src/generated/prisma/client.ts';
import {
  deriveTitle,
  effectiveTitle,
  isTerminal,
  type SessionPriority,
  TOKEN_LIMIT_REASON,
} from '../../src/modules/session/session.rules.ts';
import { type KeyRules, type SessionKind, sessionKind } from '../../src/modules/session-key/session-key.rules.ts';
import { type AgentProfile, agentProfiles, drawModel, drawTopic } from './agent-profile.ts';
import { drawNames, fillSlots, generateConversation, type SeedMessage } from './conversation-generator.ts';
import { createRandomSource, type RandomSource } from './random-source.ts';
import { addressOf, drawChannel, isSingletonKind, keyOf, singletonKey } from './session-address.ts';
import { type EarlierRow, SessionHistory } from './session-history.ts';
import { drawOutline, type SessionOutline, SHOWCASE } from './session-outline.ts';
import { drawTimes, MINUTE } from './session-times.ts';
import type { Topic } from './topics/topic.ts';

/** Everything that the generated data depends on. */
export interface SeedOptions {
  /** Number of sessions. */
  readonly sessions: number;
  /** Number of messages in each session. */
  readonly messages: number;
  /** Another seed gives other sessions with other ids. */
  readonly seed: number;
  /** All data lies in the 30 days before this instant. */
  readonly until: Date;
  readonly keys: KeyRules;
}

/** All rows of one session, in the shape of the tables. Columns that are left out have their defaults. */
export type SeedSession = ReturnType<typeof generateSession>;

/** Makes the ids. Never change it: the ids of a seed stay the same from release to release. */
const SEED_NAMESPACE = '6a0f6f3c-6f0a-5c0e-9d55-3f4f9a1c7b21';

/** The server's default of MAX_TOKEN_LIMIT. */
const MAX_TOKEN_LIMIT = 10_000_000;

const FAILURES = [
  'The model provider answered 529 three times in a row',
  'Tool exec exited with code 137',
  'Context window exceeded',
  TOKEN_LIMIT_REASON,
] as const;

/**
 * Generates the sessions of a seed one by one, parents before their children.
 * The same options give the same rows; more sessions leave the first ones as they are. An id depends only on the seed and on the
 * number of the session. Keys and labels are unique per agent among the sessions that are neither superseded nor in the trash.
 */
export function* generateSessions(options: SeedOptions): Generator<SeedSession> {
  const agents = agentProfiles(options.keys.defaultAgent);
  const history = new SessionHistory(options.until);
  for (let index = 0; index < options.sessions; index += 1) yield generateSession(options, agents, history, index);
}

function generateSession(options: SeedOptions, agents: readonly [AgentProfile, ...AgentProfile[]], history: SessionHistory, index: number) {
  const random = createRandomSource(options.seed, index);
  const id = uuidV5(`${options.seed}/${index}`, SEED_NAMESPACE);
  const drawn = SHOWCASE[index] ?? drawOutline(random);
  const picked = index < SHOWCASE.length ? agents[0] : random.pick(agents);
  const profile = isSingletonKind(drawn.kind) ? notDefaultAgent(picked, agents) : picked;
  const holder = isSingletonKind(drawn.kind)
    ? history.earliestHolder(profile.agentId, singletonKey(drawn.kind, profile.agentId, options.keys))
    : null;
  const successor = findSuccessor(history, drawn, holder, random);
  const outline = resolveOutline(drawn, holder, successor);
  const parent = outline.kind === 'SUBAGENT' ? history.drawParent(outline.status, random) : null;
  const agentId = successor?.agentId ?? profile.agentId;

  const times = drawTimes(
    outline,
    {
      until: options.until,
      parent: parent && { startedAt: parent.session.startedAt, lastActivityAt: parent.lastActivityAt },
      supersededAt: successor?.createdAt ?? null,
    },
    random,
  );
  const topic = drawTopic(profile, random);
  const names = drawNames(random);
  const model = drawModel(random);
  const messages = generateConversation(
    {
      sessionId: id,
      agentId,
      topic,
      names,
      model,
      messageCount: options.messages,
      instructed: isDelegated(outline.kind),
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
  const fill = (text: string) => fillSlots(text, names, random);
  const question = messages.find(message => message.role === 'USER')?.content;
  const titles = {
    givenTitle: random.chance(0.25) ? fill(random.pick(topic.titles)) : null,
    displayName: successor !== null ? successor.displayName : outline.kind === 'GROUP' ? `${channel}:#${topic.project}-${index}` : null,
    subject: outline.kind === 'GROUP' && random.chance(0.4) ? fill(random.pick(topic.titles)) : null,
    derivedTitle: question === undefined ? null : deriveTitle(question),
  };
  const expectedDurationMs = isDelegated(outline.kind) && random.chance(0.6) ? BigInt(random.integer(5, 90) * MINUTE) : null;
  const usage = sumUsage(messages);
  const statusReason = drawReason(outline, usage.totalTokens, successor, random);

  const session = {
    id,
    externalId: null,
    agentId,
    key,
    kind: successor === null ? sessionKind(key, chatType, options.keys) : successor.kind,
    type: drawType(outline.kind, random),
    status: outline.status,
    statusReason,
    title: effectiveTitle({ id, ...titles }),
    givenTitle: titles.givenTitle,
    derivedTitle: titles.derivedTitle,
    label: successor === null && random.chance(0.2) ? history.uniqueLabel(agentId, random.pick(topic.labels)) : null,
    displayName: titles.displayName,
    subject: titles.subject,
    category: random.chance(0.8) ? topic.category : null,
    tags: drawTags(topic, random),
    channel,
    nodeId: outline.kind === 'NODE' ? `node-${random.pick(['laptop', 'phone', 'rack-2'])}` : null,
    outputPath: outline.kind === 'CRON' && random.chance(0.5) ? `reports/${topic.project}/${index}.md` : null,
    priority: drawPriority(random),
    task: isDelegated(outline.kind) || random.chance(0.3) ? fill(random.pick(topic.tasks)) : null,
    prompt: isDelegated(outline.kind) && question !== undefined ? question : null,
    tokenLimit: drawTokenLimit(statusReason, usage.totalTokens, random),
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
    metadata: { source: 'seed', project: topic.project, language: topic.language, ticket: names.ticket ?? null },
    parentId: parent?.session.id ?? null,
    compactionCount: 0,
    compactedThrough: 0n,
    workingSince: null,
    version: 1 + (isTerminal(outline.status) ? 1 : 0) + (outline.mark === 'none' || outline.mark === 'superseded' ? 0 : 1),
    expectedDurationMs,
    createdAt: times.startedAt,
    startedAt: times.startedAt,
    expectedCompletionAt: expectedDurationMs === null ? null : new Date(times.startedAt.getTime() + Number(expectedDurationMs)),
    endedAt: times.endedAt,
    archivedAt: outline.mark === 'archived' ? times.markedAt : null,
    pinnedAt: outline.mark === 'pinned' ? times.markedAt : null,
    supersededAt: outline.mark === 'superseded' ? times.markedAt : null,
    deletedAt: outline.mark === 'trashed' ? times.markedAt : null,
  } satisfies Partial<Session>;
  const tasks = isDelegated(outline.kind) ? random.integer(3, 12) : null;
  const percent = outline.status === 'COMPLETED' ? 100 : tasks === null ? 0 : random.integer(5, 95);
  const activity: SessionActivity = {
    sessionId: id,
    agentId,
    listed: session.deletedAt === null && session.supersededAt === null,
    updatedAt: new Date(Math.max(...[times.lastActivityAt, times.endedAt, times.markedAt].map(instant => instant?.getTime() ?? 0))),
    lastActivityAt: times.lastActivityAt,
    lastMessageAt: messages.at(-1)?.createdAt ?? null,
    messageCount: messages.length,
    nextPosition: BigInt(messages.length + 1),
    leafPosition: messages.at(-1)?.position ?? null,
    ...usage,
    contextUsed: contextUsed(messages),
    progressPercent: percent,
    tasksCompleted: tasks === null ? null : Math.floor((tasks * percent) / 100),
    tasksTotal: tasks,
    currentTask: outline.status === 'STALLED' ? fill(random.pick(topic.tasks)) : null,
  };

  history.add({ session, lastActivityAt: times.lastActivityAt, depth: parent === null ? 0 : parent.depth + 1 });
  return { session, activity, messages };
}

/** Whether an agent or a schedule gave the session its work, and not a person in a chat. */
function isDelegated(kind: SessionKind): boolean {
  return kind === 'SUBAGENT' || kind === 'CRON' || kind === 'HOOK';
}

/** The default agent gets no main session: users may bring their own, and the server does not delete a main session to make room. */
function notDefaultAgent(profile: AgentProfile, [first, second = first]: readonly [AgentProfile, ...AgentProfile[]]): AgentProfile {
  return profile === first ? second : profile;
}

/** The session that took over the key of the new session, or null. */
function findSuccessor(history: SessionHistory, drawn: SessionOutline, holder: EarlierRow | null, random: RandomSource): EarlierRow | null {
  if (holder !== null) return history.hasRoomBefore(holder) ? holder : null;
  return drawn.mark === 'superseded' ? history.drawSuccessor(random) : null;
}

/** Adapts a drawn outline: a session is superseded if and only if it has a successor, and no key has two current holders. */
function resolveOutline(drawn: SessionOutline, holder: EarlierRow | null, successor: EarlierRow | null): SessionOutline {
  if (successor !== null) return { kind: successor.kind, status: 'ENDED', mark: 'superseded' };
  const kind = holder === null ? drawn.kind : 'OTHER';
  const unmarked = drawn.mark === 'superseded' || (isSingletonKind(kind) && drawn.mark === 'trashed');
  return { kind, status: kind === 'MAIN' ? 'ACTIVE' : drawn.status, mark: unmarked ? 'none' : drawn.mark };
}

function drawType(kind: SessionKind, random: RandomSource): string {
  if (kind === 'CRON') return 'cron';
  if (kind === 'SUBAGENT') return 'subagent';
  return kind === 'OTHER' ? random.pick(['interactive', 'roundtable']) : 'chat';
}

function drawTags(topic: Topic, random: RandomSource): string[] {
  return topic.tags.filter(() => random.chance(0.4));
}

function drawPriority(random: RandomSource): SessionPriority {
  return random.weighted<SessionPriority>([
    ['NORMAL', 62],
    ['HIGH', 18],
    ['LOW', 14],
    ['CRITICAL', 6],
  ]);
}

function drawReason(outline: SessionOutline, totalTokens: bigint, successor: EarlierRow | null, random: RandomSource): string | null {
  if (successor !== null) return 'reset';
  switch (outline.status) {
    case 'FAILED': {
      const reason = random.pick(FAILURES);
      // A session without usage cannot have reached its token limit.
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

/** Sessions that failed at their token limit have used over 95 % of it, all others less. */
function drawTokenLimit(statusReason: string | null, totalTokens: bigint, random: RandomSource): number | null {
  const used = Number(totalTokens);
  if (statusReason === TOKEN_LIMIT_REASON) return Math.min(MAX_TOKEN_LIMIT, Math.max(1, Math.floor(used / 0.97)));
  if (!random.chance(0.35)) return null;
  const limit = Math.ceil((used * (1.2 + 2 * random.fraction())) / 50_000) * 50_000;
  return limit > MAX_TOKEN_LIMIT ? null : Math.max(limit, 100_000);
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

/** The tokens of the last model call, or null. */
function contextUsed(messages: readonly SeedMessage[]): bigint | null {
  return messages.findLast(message => message.totalTokens !== null)?.totalTokens ?? null;
}
