import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { isJsonObject } from '../../modules/text/text.input.ts';
import { canonicalJson } from '../canonical-json.ts';
import type { FileLine } from '../lines/line-reader.ts';
import { lineRecords } from '../lines/line-records.ts';
import type { JsonObject, RecordFacts, SourceRecord, SourceRecords } from '../source.ts';
import { isNestedDeeper, TextRepair } from '../text-repair.ts';
import { readTranscriptMessage, toInstant } from './message-reader.ts';
import { readThinkingLevel } from './session-settings.ts';

const DEEPEST = 500;

/** OpenClaw writes a copy of each delivered message under this provider, with a model that did not answer. */
const MIRROR_PROVIDER = 'openclaw';

const NO_ENTRY = { entryId: null, createdAt: null, message: null, facts: {}, fingerprint: null } as const;

/** What parsing finds in a line. */
type ParsedLine = Omit<SourceRecord, 'number' | 'replaced'>;

/**
 * The lines of an OpenClaw transcript, versions 1 to 4, as records.
 * @param name for reports: the path below the imported folder
 */
export function openTranscript(path: string, name: string): SourceRecords {
  return lineRecords(path, name, line => {
    const repair = new TextRepair();
    const parsed = parseLine(line, repair);
    return { ...parsed, number: line.line, replaced: repair.replaced };
  });
}

function parseLine(line: FileLine, repair: TextRepair): ParsedLine {
  if (line.bytes === null) return { ...NO_ENTRY, kind: 'malformed', raw: '', problem: 'line too long' };
  const text = line.bytes.toString('utf8');
  const raw = text.includes('\0') ? repair.text(text) : text;
  const broken = isUtf8(line.bytes) ? null : ('invalid UTF-8' as const);
  if (text.trim() === '') return { ...NO_ENTRY, kind: 'blank', raw, problem: broken };
  const malformed = { ...NO_ENTRY, kind: 'malformed', raw, problem: 'malformed line' } as const;
  let entry: unknown;
  try {
    entry = repair.parse(line.line === 1 ? text.replace(/^\ufeff/, '') : text);
  } catch {
    return malformed;
  }
  if (!isJsonObject(entry) || typeof entry.type !== 'string' || isNestedDeeper(entry, DEEPEST)) return malformed;
  if (entry.type === 'session') {
    return { ...NO_ENTRY, kind: 'header', raw, createdAt: toInstant(entry.timestamp), facts: headerFacts(entry), problem: broken };
  }
  return { raw, ...readEntry(entry, line.line, broken) };
}

function readEntry(entry: JsonObject, line: number, broken: 'invalid UTF-8' | null): Omit<ParsedLine, 'raw'> {
  const entryId = typeof entry.id === 'string' && entry.id !== '' ? entry.id : null;
  const message = readTranscriptMessage(entry, entryId ?? `line:${line}`);
  const inner = isJsonObject(entry.message) ? entry.message.timestamp : null;
  return {
    kind: 'entry',
    entryId,
    ...('parentId' in entry ? { parentEntryId: typeof entry.parentId === 'string' ? entry.parentId : null } : {}),
    createdAt: toInstant(entry.timestamp) ?? toInstant(inner),
    message: message === 'malformed' ? null : message,
    facts: entryFacts(entry),
    problem: message === 'malformed' ? 'malformed message' : broken,
    fingerprint: () => fingerprint(entry),
  };
}

/** A hash of the content that does not change when OpenClaw upgrades an old transcript: it then adds ids to lines and renames roles. */
function fingerprint({ id: _id, parentId: _parentId, ...content }: JsonObject): string {
  const { message } = content;
  const renamed =
    isJsonObject(message) && message.role === 'hookMessage' ? { ...content, message: { ...message, role: 'custom' } } : content;
  return createHash('sha256').update(canonicalJson(renamed)).digest('base64url');
}

function headerFacts(header: JsonObject): RecordFacts {
  const { cwd, parentSession, branchedFrom, provider, modelId, thinkingLevel } = header;
  const metadata = Object.fromEntries(
    Object.entries({ cwd, parentSession, branchedFrom }).filter(([, value]) => typeof value === 'string'),
  );
  return {
    ...modelFacts(provider, modelId),
    ...thinkingFact(thinkingLevel),
    ...(Object.keys(metadata).length > 0 ? { metadata } : {}),
  };
}

function entryFacts(entry: JsonObject): RecordFacts {
  switch (entry.type) {
    case 'model_change':
      return modelFacts(entry.provider, entry.modelId);
    case 'thinking_level_change':
      return thinkingFact(entry.thinkingLevel);
    case 'session_info':
      return { givenTitle: typeof entry.name === 'string' && entry.name.trim() !== '' ? entry.name.trim() : null };
    case 'message': {
      const { message } = entry;
      if (!isJsonObject(message) || message.role !== 'assistant' || message.provider === MIRROR_PROVIDER) return {};
      return modelFacts(message.provider, message.model);
    }
    default:
      return {};
  }
}

function thinkingFact(value: unknown): RecordFacts {
  const thinkingLevel = readThinkingLevel(value);
  return thinkingLevel === null ? {} : { thinkingLevel };
}

function modelFacts(provider: unknown, model: unknown): RecordFacts {
  return { ...(isName(model) ? { model } : {}), ...(isName(provider) ? { modelProvider: provider } : {}) };
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
