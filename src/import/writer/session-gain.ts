import { deriveTitle } from '../../modules/session/session.rules.ts';
import type { SourceFields, SourceSession } from '../source.ts';
import { decideField, hashValue } from './field-merge.ts';
import type { RecordGain } from './record-import.ts';
import type { ImportedSession } from './session-row.ts';

/** The session with the new messages counted. A new session also gets its times. */
export function withGain(
  row: ImportedSession,
  gain: RecordGain | null,
  times: SourceSession['times'],
  created: boolean,
  now: Date,
): ImportedSession {
  const counted: ImportedSession =
    gain === null
      ? row
      : {
          ...row,
          messageCount: row.messageCount + gain.messages,
          nextPosition: gain.nextPosition,
          leafPosition: gain.leafPosition,
          lastMessageAt: gain.lastMessageAt,
          derivedTitle: row.derivedTitle ?? (gain.firstUserText === null ? null : deriveTitle(gain.firstUserText)),
        };
  const lastRecordAt = gain?.lastAt ?? null;
  if (!created) return { ...counted, lastActivityAt: latest(row.lastActivityAt, lastRecordAt, times.activeAt) ?? row.lastActivityAt };
  const createdAt = gain?.firstAt ?? times.createdAt ?? times.startedAt ?? times.updatedAt ?? now;
  const lastActivityAt = latest(lastRecordAt, times.activeAt) ?? createdAt;
  return { ...counted, createdAt, startedAt: times.startedAt ?? createdAt, lastActivityAt, updatedAt: times.updatedAt ?? lastActivityAt };
}

/** The session with the transcript's last compaction applied, unless somebody has compacted it here. */
export function withCompaction(
  row: ImportedSession,
  gain: RecordGain | null,
  hashes: Record<string, string>,
  created: boolean,
): ImportedSession {
  const through = gain?.compactedThrough;
  if (through === undefined) return row;
  const decision = created ? 'apply' : decideField(hashes.compactedThrough, row.compactedThrough || null, through || null);
  hashes.compactedThrough = hashValue(through || null);
  return decision === 'apply' ? { ...row, compactedThrough: through } : row;
}

/** The source's fields, completed with what the transcript says. */
export function withFacts(row: ImportedSession, fields: SourceFields, gain: RecordGain | null): SourceFields {
  if (gain === null) return fields;
  const { givenTitle, model, modelProvider, thinkingLevel, metadata } = gain.facts;
  return {
    ...fields,
    ...(givenTitle === undefined ? {} : { givenTitle }),
    ...(fields.model === undefined && model !== undefined ? { model, ...(modelProvider === undefined ? {} : { modelProvider }) } : {}),
    ...(fields.complete !== true && thinkingLevel !== undefined ? { settings: { thinkingLevel } } : {}),
    ...(fields.compactionCount === undefined && gain.compactions > 0 ? { compactionCount: row.compactionCount + gain.compactions } : {}),
    ...(metadata === undefined ? {} : { metadata: { ...metadata, ...fields.metadata } }),
  };
}

function latest(...instants: readonly (Date | null)[]): Date | null {
  return instants.reduce((last, instant) => (last === null || (instant !== null && instant > last) ? instant : last), null);
}
