import { isTerminal, MAX_LABEL_LENGTH, MAX_NAME_LENGTH, statusFromWord } from '../../modules/session/session.rules.ts';
import { canonicalKey, type KeyRules, MAX_KEY_LENGTH } from '../../modules/session-key/session-key.rules.ts';
import { isJsonObject } from '../../modules/text/text.input.ts';
import { characterCount } from '../../modules/text/text.rules.ts';
import type { JsonObject, SourceFields, SourceParent, SourceSession, SourceStatus } from '../source.ts';
import { toInstant } from './message-reader.ts';
import { readSettings } from './session-settings.ts';
import type { StoreEntry } from './store-reader.ts';

const ORIGIN_FIELDS = ['label', 'provider', 'surface', 'chatType', 'from', 'to', 'accountId', 'threadId'] as const;
const DELIVERY_FIELDS = ['channel', 'to', 'accountId', 'threadId'] as const;
/** Copies of the delivery context that OpenClaw writes with every save. */
const LAST_FIELDS = { channel: 'lastChannel', to: 'lastTo', accountId: 'lastAccountId', threadId: 'lastThreadId' } as const;

/** Chat types, with their older names. */
const CHAT_TYPES: Readonly<Record<string, string>> = {
  dm: 'direct',
  direct: 'direct',
  group: 'group',
  channel: 'channel',
  room: 'channel',
};

/** What a store entry says about its session. */
export type EntrySession = Pick<SourceSession, 'fields' | 'times' | 'fallbackUsage'>;

/**
 * Reads a store entry into the fields of a session. A value that no field can hold unchanged is also kept in `extra`.
 */
export function readEntrySession(entry: StoreEntry): EntrySession {
  return new EntryReader(entry).read();
}

/** The parent that an entry names by its key; null if it names none. */
export function readParent(entry: StoreEntry, ownerAgentId: string, rules: KeyRules): Omit<SourceParent, 'id'> | null {
  const extraName = parentField(entry.fields);
  const raw = extraName === null ? null : entry.fields[extraName];
  return extraName === null || typeof raw !== 'string' ? null : { key: canonicalKey(raw, rules, ownerAgentId).key, extraName, raw };
}

function parentField(fields: JsonObject): string | null {
  const isNamed = (name: string) => typeof fields[name] === 'string' && fields[name].trim() !== '';
  return ['spawnedBy', 'parentSessionKey'].find(isNamed) ?? null;
}

class EntryReader {
  readonly #entry: StoreEntry;
  readonly #fields: JsonObject;
  /** Names of the entry's fields that need no copy in `extra`. */
  readonly #placed = new Set<string>();

  constructor(entry: StoreEntry) {
    this.#entry = entry;
    this.#fields = entry.fields;
  }

  read(): EntrySession {
    const { settings, placed } = readSettings(this.#fields);
    for (const name of placed) this.#placed.add(name);
    const origin = this.#readOrigin();
    const delivery = this.#readDelivery();
    const status = this.#readStatus();
    const word = this.#fields.status;
    const model = this.#text('model', MAX_NAME_LENGTH);
    const modelProvider = this.#text('modelProvider', MAX_NAME_LENGTH);
    const tooLongKey = characterCount(this.#entry.key) > MAX_KEY_LENGTH;
    const fields: SourceFields = {
      key: tooLongKey ? null : this.#entry.key,
      label: this.#text('label', MAX_LABEL_LENGTH),
      displayName: this.#text('displayName', MAX_NAME_LENGTH),
      subject: this.#text('subject', MAX_NAME_LENGTH),
      category: this.#text('category', MAX_NAME_LENGTH),
      channel: this.#text('channel', MAX_NAME_LENGTH) ?? nameOrNull(delivery?.channel) ?? nameOrNull(origin?.provider),
      // Without a model here, the transcript's is used.
      ...(model === null ? {} : { model, modelProvider }),
      status,
      archivedAt: this.#instant('archivedAt'),
      pinnedAt: this.#instant('pinnedAt'),
      origin,
      delivery,
      ...this.#readCompactionCount(),
      contextUsed: this.#readContextUsed(),
      settings,
      metadata: { originalStatus: typeof word === 'string' ? word : null },
      complete: true,
    };
    const times = this.#readTimes();
    const fallbackUsage = this.#readUsage();
    const parent = parentField(this.#fields);
    if (parent !== null) this.#placed.add(parent);
    const extra = Object.fromEntries(Object.entries(this.#fields).filter(([name]) => !this.#placed.has(name)));
    return { fields: { ...fields, extra: this.#withKeys(extra, tooLongKey) }, times, fallbackUsage };
  }

  /** Null if there is no such text or it is too long. A text that is not used as it is stays in `extra`. */
  #text(name: string, longest: number): string | null {
    const value = this.#fields[name];
    if (typeof value !== 'string' || value.trim() === '') return null;
    const text = value.trim();
    if (characterCount(text) > longest) return null;
    if (text === value) this.#placed.add(name);
    return text;
  }

  #instant(name: string): Date | null {
    const instant = toInstant(this.#fields[name]);
    if (instant !== null && instant.getTime() === this.#fields[name]) this.#placed.add(name);
    return instant;
  }

  #readStatus(): SourceStatus {
    const word = this.#fields.status;
    const endedAt = toInstant(this.#fields.endedAt);
    if (typeof word !== 'string') return { status: 'ACTIVE', reason: null, endedAt: null };
    this.#placed.add('status');
    const status = statusFromWord(word, endedAt !== null);
    if (isTerminal(status) && endedAt?.getTime() === this.#fields.endedAt) this.#placed.add('endedAt');
    const reason = word.trim().toLowerCase() === 'timeout' ? 'timeout' : null;
    return { status, reason, endedAt: isTerminal(status) ? endedAt : null };
  }

  #readOrigin(): JsonObject | null {
    const { origin, chatType } = this.#fields;
    const read = readTexts(origin, ORIGIN_FIELDS);
    const word = typeof chatType === 'string' ? chatType : read.texts.chatType;
    const known = word === undefined ? undefined : CHAT_TYPES[word.trim().toLowerCase()];
    const sameInOrigin = read.texts.chatType === undefined || read.texts.chatType === known;
    if (read.whole && sameInOrigin) this.#placed.add('origin');
    if (chatType !== undefined && chatType === known) this.#placed.add('chatType');
    const texts = known === undefined ? read.texts : { ...read.texts, chatType: known };
    return Object.keys(texts).length === 0 ? null : texts;
  }

  #readDelivery(): JsonObject | null {
    const last = Object.fromEntries(Object.entries(LAST_FIELDS).map(([name, field]) => [name, this.#fields[field] ?? undefined]));
    const context = readTexts(this.#fields.deliveryContext, DELIVERY_FIELDS);
    if (context.whole) this.#placed.add('deliveryContext');
    const texts = Object.keys(context.texts).length > 0 ? context.texts : readTexts(last, DELIVERY_FIELDS).texts;
    for (const [name, field] of Object.entries(LAST_FIELDS)) {
      if (last[name] !== undefined && texts[name] === String(last[name])) this.#placed.add(field);
    }
    return Object.keys(texts).length === 0 ? null : texts;
  }

  #readCompactionCount(): Pick<SourceFields, 'compactionCount'> {
    const count = wholeNumber(this.#fields.compactionCount);
    if (count === null || count > 2_147_483_647) return {};
    this.#placed.add('compactionCount');
    return { compactionCount: count };
  }

  #readContextUsed(): number | null {
    const total = wholeNumber(this.#fields.totalTokens);
    // OpenClaw marks a figure of an earlier run as not fresh.
    if (total === null || this.#fields.totalTokensFresh === false) return null;
    this.#placed.add('totalTokens');
    return total;
  }

  /** Also kept in `extra`, because the usage of the messages has precedence. */
  #readUsage(): SourceSession['fallbackUsage'] {
    const input = wholeNumber(this.#fields.inputTokens);
    const output = wholeNumber(this.#fields.outputTokens);
    return input === null && output === null ? null : { inputTokens: BigInt(input ?? 0), outputTokens: BigInt(output ?? 0) };
  }

  #readTimes(): SourceSession['times'] {
    const updatedAt = this.#instant('updatedAt');
    const startedAt = toInstant(this.#fields.sessionStartedAt);
    const active = [this.#fields.lastActivityAt, this.#fields.lastInteractionAt].map(toInstant).filter(instant => instant !== null);
    const activeAt = active.length > 0 ? new Date(Math.max(...active.map(Number))) : updatedAt;
    return { createdAt: startedAt ?? toInstant(this.#fields.startedAt), startedAt, updatedAt, activeAt };
  }

  #withKeys(extra: JsonObject, tooLongKey: boolean): JsonObject {
    const { key, otherKeys } = this.#entry;
    return { ...extra, ...(tooLongKey ? { sessionKey: key } : {}), ...(otherKeys.length > 0 ? { otherKeys } : {}) };
  }
}

/** The named texts of an object, with numbers as text. `whole` is true if the object holds nothing else. */
function readTexts(value: unknown, names: readonly string[]): { readonly texts: Record<string, string>; readonly whole: boolean } {
  if (!isJsonObject(value)) return { texts: {}, whole: value === undefined };
  const texts: Record<string, string> = {};
  let whole = true;
  for (const [name, item] of Object.entries(value)) {
    if (item === null || item === undefined) continue;
    if (names.includes(name) && (typeof item === 'string' || typeof item === 'number')) texts[name] = String(item);
    else whole = false;
  }
  return { texts, whole };
}

function nameOrNull(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' && characterCount(value) <= MAX_NAME_LENGTH ? value.trim() : null;
}

function wholeNumber(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
