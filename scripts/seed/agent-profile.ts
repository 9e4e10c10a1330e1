import type { SeedModel } from './conversation-generator.ts';
import type { RandomSource } from './random-source.ts';
import { ENGLISH_TOPICS } from './topics/english.ts';
import { OTHER_LANGUAGE_TOPICS } from './topics/other-languages.ts';
import type { Topic } from './topics/topic.ts';

/** An agent that owns seeded sessions, and the categories of topics that its sessions have. */
export interface AgentProfile {
  readonly agentId: string;
  readonly categories: readonly string[];
}

const OTHER_AGENTS: readonly AgentProfile[] = [
  { agentId: 'coder', categories: ['engineering'] },
  { agentId: 'researcher', categories: ['research'] },
  { agentId: 'ops', categories: ['operations'] },
  { agentId: 'support', categories: ['support'] },
  { agentId: 'writer', categories: ['research', 'personal'] },
];

const TOPICS: readonly [Topic, ...Topic[]] = [...ENGLISH_TOPICS, ...OTHER_LANGUAGE_TOPICS];

/** A topic in English is this much likelier than one in another language. */
const ENGLISH_WEIGHT = 4;

const MODELS: readonly [readonly [SeedModel, number], ...(readonly [SeedModel, number])[]] = [
  [{ provider: 'anthropic', model: 'claude-sonnet-4-5', inputPrice: 3, outputPrice: 15, cacheReadPrice: 0.3, cacheWritePrice: 3.75 }, 40],
  [{ provider: 'anthropic', model: 'claude-haiku-4-5', inputPrice: 1, outputPrice: 5, cacheReadPrice: 0.1, cacheWritePrice: 1.25 }, 20],
  [{ provider: 'openai', model: 'gpt-5', inputPrice: 1.25, outputPrice: 10, cacheReadPrice: 0.125, cacheWritePrice: 1.25 }, 20],
  [{ provider: 'google', model: 'gemini-2.5-pro', inputPrice: 1.25, outputPrice: 10, cacheReadPrice: 0.31, cacheWritePrice: 1.25 }, 12],
  [{ provider: 'ollama', model: 'qwen3:32b', inputPrice: 0, outputPrice: 0, cacheReadPrice: 0, cacheWritePrice: 0 }, 8],
];

/** The agents of the seed, the default agent first. */
export function agentProfiles(defaultAgent: string): readonly [AgentProfile, ...AgentProfile[]] {
  return [
    { agentId: defaultAgent, categories: ['personal', 'engineering', 'operations'] },
    ...OTHER_AGENTS.filter(profile => profile.agentId !== defaultAgent),
  ];
}

/** A topic that the agent works on. */
export function drawTopic(profile: AgentProfile, random: RandomSource): Topic {
  const [first, ...rest] = TOPICS.filter(topic => profile.categories.includes(topic.category)).map(
    topic => [topic, topic.language === 'en' ? ENGLISH_WEIGHT : 1] as const,
  );
  return first === undefined ? random.pick(TOPICS) : random.weighted<Topic>([first, ...rest]);
}

/** A model that a session runs on. */
export function drawModel(random: RandomSource): SeedModel {
  return random.weighted<SeedModel>(MODELS);
}
