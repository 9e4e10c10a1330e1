import { randomUUID } from 'node:crypto';
import type { Caller } from '../../src/modules/caller.ts';
import type { MessageInput, MessagePartInput } from '../../src/modules/message/message.input.ts';
import type { StoredPart } from '../../src/modules/message/message.rules.ts';
import { appendMessage } from '../../src/modules/message/message-append.service.ts';
import { createSession } from '../../src/modules/session-mutation/session-create.service.ts';
import type { CreateSessionInput, EndSessionInput } from '../../src/modules/session-mutation/session-mutation.input.ts';
import { endSession, updateSession } from '../../src/modules/session-mutation/session-update.service.ts';
import { usdOfNano } from '../../src/modules/usage/usage.rules.ts';
import { type AgentProfile, agentProfiles, drawModel, drawTopic } from './agent-profile.ts';
import { drawNames, fillSlots, generateConversation, type SeedMessage } from './conversation-generator.ts';
import type { RandomSource } from './random-source.ts';

/** What a live session is made from. */
export interface LiveSessionSource {
  readonly caller: Caller;
  readonly random: RandomSource;
  /** UUIDs of open sessions, one of which may become the parent. */
  readonly openSessions: readonly string[];
}

/** A chat with a user, or a task that an agent (SUBAGENT) or a schedule (CRON) has started. */
type LiveKind = 'CHAT' | 'SUBAGENT' | 'CRON';

const FAILURES = [
  'The model provider answered 529 three times in a row',
  'Tool exec exited with code 137',
  'Context window exceeded',
] as const;

/**
 * Runs one session from its creation to its end, through the services that mutations use. Each step makes one change and yields
 * the session's UUID.
 * @throws DomainError if another caller has ended or deleted the session
 */
export async function* runLiveSession({ caller, random, openSessions }: LiveSessionSource): AsyncGenerator<string, void> {
  const agent = random.pick(agentProfiles(caller.settings.defaultAgent));
  const kind = drawKind(random, openSessions);
  const { input, messages, title } = drawSession(kind, agent, openSessions, random);
  const { id } = await createSession(caller, input);
  yield id;

  let turns = 0;
  for (const [index, message] of messages.entries()) {
    const isQuestion = message.role === 'USER';
    if (kind === 'CHAT' && isQuestion && turns > 0) {
      // The agent has answered and waits for the user.
      await updateSession(caller, { id, status: 'ACTIVE' });
      yield id;
    }
    await appendMessage(caller, { sessionId: id, message: toMessageInput(message) });
    yield id;
    if (kind === 'CHAT' && isQuestion) {
      await updateSession(caller, { id, status: 'WORKING' });
      yield id;
    }
    if (kind === 'CHAT' && isQuestion && turns === 1) {
      // Until now, the title was derived from the first message.
      await updateSession(caller, { id, title });
      yield id;
    }
    if (kind !== 'CHAT' && message.role === 'TOOL') {
      // No mutation reports progress yet, so it is kept in the metadata.
      await updateSession(caller, { id, metadata: { percent: Math.floor((100 * (index + 1)) / messages.length) } });
      yield id;
    }
    if (isQuestion) turns += 1;
  }
  await endSession(caller, { id, ...drawEnding(kind, random) });
  yield id;
}

function drawKind(random: RandomSource, openSessions: readonly string[]): LiveKind {
  return random.weighted<LiveKind>([
    ['CHAT', 5],
    ['CRON', 2],
    ['SUBAGENT', openSessions.length > 0 ? 4 : 0],
  ]);
}

function drawSession(kind: LiveKind, agent: AgentProfile, openSessions: readonly string[], random: RandomSource) {
  const topic = drawTopic(agent, random);
  const names = drawNames(random);
  const model = drawModel(random);
  const now = new Date();
  const messages = generateConversation(
    {
      sessionId: randomUUID(),
      agentId: agent.agentId,
      topic,
      names,
      model,
      messageCount: random.integer(8, 30),
      instructed: kind !== 'CHAT',
      branches: false,
      from: now,
      to: now,
    },
    random,
  );
  const title = fillSlots(random.pick(topic.titles), names, random);
  const input: CreateSessionInput = {
    agentId: agent.agentId,
    title: kind === 'CHAT' ? null : title,
    category: topic.category,
    tags: topic.tags.filter(() => random.chance(0.4)),
    model: model.model,
    modelProvider: model.provider,
    metadata: { source: 'seed --live', project: topic.project, language: topic.language },
    ...drawOrigin(kind, fillSlots(random.pick(topic.tasks), names, random), openSessions, random),
  };
  return { input, messages, title };
}

/** The fields that differ between the kinds. Keys are random: sessions of earlier runs keep theirs. */
function drawOrigin(kind: LiveKind, task: string, openSessions: readonly string[], random: RandomSource): CreateSessionInput {
  const unique = randomUUID();
  if (kind === 'CHAT') {
    const channel = random.pick(['telegram', 'whatsapp', 'signal', 'webchat']);
    const peer = `user-${unique.slice(0, 8)}`;
    return { key: `${channel}:direct:${peer}`, channel, origin: { provider: channel, surface: channel, chatType: 'direct', from: peer } };
  }
  const delegated: CreateSessionInput = { status: 'SPAWNING', task, expectedDurationMs: random.integer(2, 10) * 60_000 };
  if (kind === 'CRON') return { ...delegated, key: `cron:live:run:${unique}`, type: 'cron' };
  const [first = null, ...others] = openSessions;
  return { ...delegated, key: `subagent:${unique}`, type: 'subagent', parentId: first === null ? null : random.pick([first, ...others]) };
}

function drawEnding(kind: LiveKind, random: RandomSource): Pick<EndSessionInput, 'status' | 'reason'> {
  if (random.chance(0.15)) return { status: 'FAILED', reason: random.pick(FAILURES) };
  return kind === 'CHAT' ? { status: 'ENDED', reason: 'The user left' } : { status: 'COMPLETED' };
}

function toMessageInput(message: SeedMessage): MessageInput {
  const { role, content, parts, agentId, model, provider, latencyMs, stopReason } = message;
  return {
    role,
    ...(parts === null ? { content } : { parts: parts.map(toPartInput) }),
    agentId,
    model,
    provider,
    latencyMs,
    stopReason,
    usage: message.totalTokens === null ? null : usageOf(message),
  };
}

function usageOf({ inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, costNanoUsd }: SeedMessage) {
  return {
    inputTokens: Number(inputTokens),
    outputTokens: Number(outputTokens),
    cacheReadTokens: Number(cacheReadTokens),
    cacheWriteTokens: Number(cacheWriteTokens),
    costUsd: usdOfNano(costNanoUsd ?? 0n),
  };
}

function toPartInput(part: StoredPart): MessagePartInput {
  switch (part.type) {
    case 'text':
      return { text: part };
    case 'thinking':
      return { thinking: part };
    case 'toolCall':
      return { toolCall: { ...part, arguments: part.arguments ?? {} } };
    case 'toolResult':
      return { toolResult: { ...part, details: part.details ?? null } };
    case 'image':
      return { image: part };
    case 'other':
      return { other: part.data };
  }
}
