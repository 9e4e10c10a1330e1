import type { JsonObject } from '../source.ts';

type Read = (value: unknown) => string | number | null | undefined;

const LARGEST_INT = 2_147_483_647;

/** Reads a word or one of its aliases into the canonical word; null for the words in `cleared`, undefined for other values. */
function words(table: Readonly<Record<string, readonly string[]>>, cleared: readonly string[] = []): Read {
  const canonical = new Map(Object.entries(table).flatMap(([word, aliases]) => [word, ...aliases].map(alias => [alias, word] as const)));
  return value => {
    const word = typeof value === 'string' || typeof value === 'boolean' ? canonical.get(String(value).trim().toLowerCase()) : undefined;
    return word !== undefined && cleared.includes(word) ? null : word;
  };
}

function oneOf(...literals: readonly string[]): Read {
  return words(Object.fromEntries(literals.map(literal => [literal, []])));
}

const text: Read = value => (typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined);

const integer: Read = value =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= LARGEST_INT ? value : undefined;

const OFF = ['false', 'no', '0', 'disable', 'disabled'];
const ON = ['true', 'yes', '1', 'enable', 'enabled'];

/** How to read each setting of an OpenClaw store entry. Gives the canonical value, null if it means "unset", undefined if it is invalid. */
const SETTINGS: Readonly<Record<string, Read>> = {
  thinkingLevel: words({
    off: ['false', 'none', '0'],
    minimal: ['min', 'think'],
    low: ['on', 'enable', 'enabled', 'thinkhard', 'think-hard', 'think_hard'],
    medium: ['mid', 'med', 'thinkharder', 'think-harder', 'harder'],
    high: ['ultra', 'ultrathink', 'thinkhardest', 'highest', 'max'],
    xhigh: ['x-high', 'x_high', 'extra high', 'extra-high', 'extrahigh'],
  }),
  verboseLevel: words({ off: OFF, on: ['minimal', ...ON], full: ['all', 'everything'] }),
  reasoningLevel: words({ off: ['hide', 'hidden', ...OFF], on: ['show', 'visible', ...ON], stream: ['streaming', 'draft', 'live'] }, [
    'off',
  ]),
  elevatedLevel: words({ off: OFF, on: ON, ask: ['prompt', 'approval', 'approve'], full: ['auto', 'auto-approve', 'autoapprove'] }),
  ttsAuto: oneOf('off', 'always', 'inbound', 'tagged'),
  execHost: oneOf('sandbox', 'gateway', 'node'),
  execSecurity: oneOf('deny', 'allowlist', 'full'),
  execAsk: oneOf('off', 'on-miss', 'always'),
  execNode: text,
  responseUsage: words({ off: OFF, tokens: ['on', 'token', ...ON], full: ['session'] }, ['off']),
  sendPolicy: oneOf('allow', 'deny'),
  groupActivation: oneOf('mention', 'always'),
  queueMode: oneOf('steer', 'followup', 'collect', 'steer-backlog', 'steer+backlog', 'queue', 'interrupt'),
  queueDebounceMs: integer,
  queueCap: integer,
  queueDrop: oneOf('old', 'new', 'summarize'),
  providerOverride: text,
  modelOverride: text,
  authProfileOverride: text,
  contextTokens: integer,
};

/** The settings of a store entry. */
export interface ReadSettings {
  readonly settings: JsonObject;
  /** Names of the entry's fields that `settings` covers completely. */
  readonly placed: ReadonlySet<string>;
}

/** Reads the typed settings of a store entry. Invalid values are left out, for the caller to keep as they are. */
export function readSettings(entry: JsonObject): ReadSettings {
  const settings: Record<string, unknown> = {};
  const placed = new Set<string>();
  for (const [name, read] of Object.entries(SETTINGS)) {
    const value = Object.hasOwn(entry, name) && entry[name] !== null ? read(entry[name]) : null;
    if (value === undefined) continue;
    placed.add(name);
    if (value !== null) settings[name] = value;
  }
  return { settings, placed };
}

/** The canonical thinking level; null if the value is not one. */
export function readThinkingLevel(value: unknown): string | null {
  const { thinkingLevel } = readSettings({ thinkingLevel: value }).settings;
  return typeof thinkingLevel === 'string' ? thinkingLevel : null;
}
