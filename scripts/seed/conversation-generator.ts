import { v5 as uuidV5 } from 'uuid';
import type { Message } from '../../src/generated/prisma/client.ts';
import { contentOf, partsToStore, type StoredPart } from '../../src/modules/message/message.rules.ts';
import { usageAmounts } from '../../src/modules/usage/usage.rules.ts';
import type { RandomSource } from './random-source.ts';
import type { Topic, TopicTool } from './topics/topic.ts';
import { RARE_WORDS, SLOTS } from './topics/vocabulary.ts';

/** A row of `chat_messages`. */
export type SeedMessage = Omit<Message, 'parts'> & { readonly parts: readonly StoredPart[] | null };

/** A language model with its prices in US dollars per million tokens. */
export interface SeedModel {
  readonly provider: string;
  readonly model: string;
  readonly inputPrice: number;
  readonly outputPrice: number;
  readonly cacheReadPrice: number;
  readonly cacheWritePrice: number;
}

/** What a conversation is generated from. */
export interface ConversationPlan {
  readonly sessionId: string;
  readonly agentId: string;
  readonly topic: Topic;
  /** The name for each slot of the topic's texts. */
  readonly names: Readonly<Record<string, string>>;
  readonly model: SeedModel;
  readonly messageCount: number;
  /** Whether a system message comes first, as in scheduled runs and subagents. */
  readonly instructed: boolean;
  /** Whether the user replaces some turns with new ones: the replaced turns become abandoned branches. */
  readonly branches: boolean;
  /** When the first message was written. */
  readonly from: Date;
  /** When the last message was written. */
  readonly to: Date;
}

/** A message without its position. */
interface Draft {
  readonly role: Message['role'];
  readonly parts: readonly StoredPart[];
  readonly stopReason: string | null;
}

/** A user's message and everything up to the next one. */
interface Turn {
  readonly drafts: readonly Draft[];
  readonly abandoned: boolean;
}

const CHARACTERS_PER_TOKEN = 4;
const SYSTEM_PROMPT_TOKENS = 1_800;
const MILLION = 1_000_000;
/** Agents send at most this many tokens of the conversation to the model. */
const MAX_CONTEXT_TOKENS = 160_000;
const RARE_WORD_SHARE = 1 / 1_200;

/** Draws one name for each slot: a conversation mentions the same service, file and person throughout. */
export function drawNames(random: RandomSource): Record<string, string> {
  const names: Record<string, string> = { ticket: `OPS-${random.integer(1_000, 9_999)}` };
  for (const [slot, choices] of Object.entries(SLOTS)) names[slot] = random.pick(choices);
  return names;
}

/** Fills the slots of a text with the names and with random numbers. */
export function fillSlots(text: string, names: Readonly<Record<string, string>>, random: RandomSource): string {
  return text.replace(/\{([a-z]+)\}/g, (placeholder, slot: string) => {
    if (slot === 'number') return String(random.integer(3, 99));
    if (slot === 'percent') return String(random.integer(12, 94));
    return names[slot] ?? placeholder;
  });
}

/**
 * Generates the messages of a conversation in order of position, exactly as many as planned.
 * Messages of abandoned turns are not on the active branch. The last message is the leaf.
 */
export function generateConversation(plan: ConversationPlan, random: RandomSource): SeedMessage[] {
  const turns = draftTurns(plan, random);
  const instants = drawInstants(plan, random);
  const messages: SeedMessage[] = [];
  let leaf: number | null = null;
  let contextTokens = SYSTEM_PROMPT_TOKENS;
  let unreadTokens = SYSTEM_PROMPT_TOKENS;

  for (const turn of turns) {
    const leafBefore: number | null = leaf;
    for (const draft of turn.drafts) {
      const position = messages.length + 1;
      const content = contentOf(draft.parts);
      const tokens = Math.ceil(JSON.stringify(draft.parts).length / CHARACTERS_PER_TOKEN);
      const fromModel = draft.role === 'ASSISTANT';
      const usage = fromModel
        ? assistantUsage(plan.model, {
            read: Math.min(contextTokens, MAX_CONTEXT_TOKENS) - Math.min(unreadTokens, MAX_CONTEXT_TOKENS),
            unread: unreadTokens,
            written: tokens,
          })
        : null;
      contextTokens += tokens;
      unreadTokens = fromModel ? tokens : unreadTokens + tokens;
      messages.push({
        sessionId: plan.sessionId,
        position: BigInt(position),
        id: uuidV5(String(position), plan.sessionId),
        externalId: null,
        role: draft.role,
        content,
        parts: partsToStore(draft.parts, content),
        agentId: fromModel ? plan.agentId : null,
        model: fromModel ? plan.model.model : null,
        provider: fromModel ? plan.model.provider : null,
        inputTokens: usage?.inputTokens ?? null,
        outputTokens: usage?.outputTokens ?? null,
        cacheReadTokens: usage?.cacheReadTokens ?? null,
        cacheWriteTokens: usage?.cacheWriteTokens ?? null,
        totalTokens: usage?.totalTokens ?? null,
        costNanoUsd: usage?.costNanoUsd ?? null,
        latencyMs: fromModel ? random.integer(600, 4_000) + tokens * 12 : null,
        stopReason: draft.stopReason,
        metadata: {},
        parentPosition: leaf === null ? null : BigInt(leaf),
        onBranch: !turn.abandoned,
        createdAt: instants[position - 1] ?? plan.to,
      });
      leaf = position;
    }
    if (turn.abandoned) leaf = leafBefore;
  }
  return messages;
}

function assistantUsage(model: SeedModel, tokens: { readonly read: number; readonly unread: number; readonly written: number }) {
  // Providers cache most of the new tokens and bill the few others as plain input.
  const inputTokens = Math.min(tokens.unread, 12);
  const cacheWriteTokens = tokens.unread - inputTokens;
  return usageAmounts({
    inputTokens,
    outputTokens: tokens.written,
    cacheReadTokens: tokens.read,
    cacheWriteTokens,
    costUsd:
      (inputTokens * model.inputPrice +
        tokens.written * model.outputPrice +
        tokens.read * model.cacheReadPrice +
        cacheWriteTokens * model.cacheWritePrice) /
      MILLION,
  });
}

/** Draws an instant for each message, in rising order from `from` to `to`. */
function drawInstants(plan: ConversationPlan, random: RandomSource): Date[] {
  const start = plan.from.getTime();
  const span = plan.to.getTime() - start;
  let sum = 0;
  const steps = Array.from({ length: plan.messageCount }, (_, index) => {
    // Most messages are seconds apart; sometimes the user answers much later.
    if (index > 0) sum += random.chance(0.05) ? 20 + 60 * random.fraction() : 0.2 + random.fraction();
    return sum;
  });
  return steps.map(step => new Date(sum === 0 ? start + span : start + Math.round((span * step) / sum)));
}

function draftTurns(plan: ConversationPlan, random: RandomSource): Turn[] {
  const turns: Turn[] = [];
  let left = plan.messageCount;
  if (plan.instructed && left > 1) {
    const text = `You are ${plan.agentId}, working on ${plan.topic.project}. Say what you found, then what you did.`;
    turns.push({ drafts: [{ role: 'SYSTEM', parts: [{ type: 'text', text }], stopReason: null }], abandoned: false });
    left -= 1;
  }
  let turnCount = 0;
  while (left > 0) {
    const drafts = draftTurn(plan, random, { left, first: turnCount === 0 });
    left -= drafts.length;
    turnCount += 1;
    turns.push({ drafts, abandoned: plan.branches && turnCount > 1 && left >= 2 && random.chance(0.2) });
  }
  return turns;
}

/** A question, tool calls with their results, and an answer: at most `left` messages. */
function draftTurn(plan: ConversationPlan, random: RandomSource, place: { readonly left: number; readonly first: boolean }): Draft[] {
  const { topic } = plan;
  const fill = (text: string) => fillSlots(text, plan.names, random);
  if (place.left === 1 && !place.first) return [answer(plan, random)];

  const question = place.first ? fill(random.pick(topic.openings)) : fill(random.pick(topic.requests));
  const drafts: Draft[] = [];
  if (!place.first && place.left > 4 && random.chance(0.03)) {
    const data = { type: 'heartbeat', status: random.pick(['ok', 'ok', 'late']), queued: random.integer(0, 9) };
    drafts.push({ role: 'OTHER', parts: [{ type: 'other', data }], stopReason: null });
  }
  drafts.push({ role: 'USER', parts: [{ type: 'text', text: withRareWord(question, random) }], stopReason: null });

  let rounds = random.weighted<number>([
    [0, 3],
    [1, 5],
    [2, 3],
    [3, 1],
  ]);
  while (rounds > 0) {
    const calls = random.chance(0.15) ? 2 : 1;
    // Keep room for the answer.
    if (drafts.length + 1 + calls + 1 > place.left) break;
    drafts.push(...toolRound(plan, random, calls));
    rounds -= 1;
  }
  if (drafts.length < place.left) drafts.push(answer(plan, random));
  return drafts;
}

function answer(plan: ConversationPlan, random: RandomSource): Draft {
  const { topic } = plan;
  const fill = (text: string) => fillSlots(text, plan.names, random);
  const templates = new Set([random.pick(topic.answers)]);
  for (let extra = random.integer(1, 4); extra > 0; extra -= 1)
    templates.add(random.pick(random.chance(0.7) ? topic.details : topic.answers));
  const sentences = [...templates].map(fill);
  const listed = sentences.length > 2 && random.chance(0.3);
  const text = listed ? sentences.map(sentence => `- ${sentence}`).join('\n') : sentences.join(' ');
  const parts: StoredPart[] = [{ type: 'text', text: withRareWord(text, random) }];
  if (random.chance(0.2)) parts.unshift(thinking(plan, random));
  return { role: 'ASSISTANT', parts, stopReason: random.chance(0.02) ? 'length' : 'stop' };
}

function toolRound(plan: ConversationPlan, random: RandomSource, calls: number): Draft[] {
  const parts: StoredPart[] = [];
  const results: Draft[] = [];
  if (random.chance(0.35)) parts.push(thinking(plan, random));
  if (random.chance(0.5)) parts.push({ type: 'text', text: fillSlots(random.pick(plan.topic.answers), plan.names, random) });
  for (let call = 0; call < calls; call += 1) {
    const tool = random.pick(plan.topic.tools);
    const callId = `call_${random.integer(0x1000_0000, 0xffff_ffff).toString(16)}`;
    parts.push({ type: 'toolCall', callId, name: tool.name, arguments: toolArguments(tool, plan, random) });
    results.push(toolResult(tool, callId, plan, random));
  }
  return [{ role: 'ASSISTANT', parts, stopReason: 'toolUse' }, ...results];
}

function toolArguments(tool: TopicTool, plan: ConversationPlan, random: RandomSource): Record<string, string> {
  return Object.fromEntries(Object.entries(tool.arguments).map(([name, text]) => [name, fillSlots(text, plan.names, random)]));
}

function toolResult(tool: TopicTool, callId: string, plan: ConversationPlan, random: RandomSource): Draft {
  const isError = random.chance(0.07);
  const content = fillSlots(isError ? tool.failure : random.pick(tool.results), plan.names, random);
  const details = random.chance(0.4) ? { details: { durationMs: random.integer(8, 9_000), exitCode: isError ? 1 : 0 } } : {};
  return { role: 'TOOL', parts: [{ type: 'toolResult', callId, name: tool.name, content, isError, ...details }], stopReason: null };
}

function thinking(plan: ConversationPlan, random: RandomSource): StoredPart {
  // Some providers encrypt thoughts: a redacted part has no readable text.
  const redacted = random.chance(0.08);
  return { type: 'thinking', text: redacted ? '' : fillSlots(random.pick(plan.topic.thoughts), plan.names, random), redacted };
}

function withRareWord(text: string, random: RandomSource): string {
  return random.chance(RARE_WORD_SHARE) ? `${text} Code word: ${random.pick(RARE_WORDS)}.` : text;
}
