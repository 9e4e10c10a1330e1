import { deriveTitle } from '../../modules/session/session.rules.ts';
import type { SourceFields, SourceSession } from '../source.ts';
import { decideField, hashValue } from './field-merge.ts';
import type { RecordGain } from './record-import.ts';
import type { SessionRow } from './session-row.ts';

/** The session with the new messages counted in, and for a new one with its times. */
export function withGain(row: SessionRow, gain: RecordGain | null, times: SourceSession['times'], created: boolean, now: Date): SessionRow {
  const counted: SessionRow =
    gain === null
      ? row
      : {
          ...row,
          messageCount: row.messageCount + gain.messages,
          nextPosition: gain.nextPosition,
          leafPosition: gain.leafPosition,
          lastMessageAt: latest(row.lastMessageAt, gain.lastMessageAt),
          derivedTitle: row.derivedTitle ?? (gain.firstUserText === null ? null : deriveTitle(gain.firstUserText)),
        };
  const spoken = gain?.lastAt ?? null;
  if (!created) return { ...counted, lastActivityAt: latest(row.lastActivityAt, spoken, times.activeAt) ?? row.lastActivityAt };
  const createdAt = gain?.firstAt ?? times.createdAt ?? times.startedAt ?? times.updatedAt ?? now;
  const lastActivityAt = latest(spoken, times.activeAt) ?? createdAt;
  return { ...counted, createdAt, startedAt: times.startedAt ?? createdAt, lastActivityAt, updatedAt: times.updatedAt ?? lastActivityAt };
}

/** The session with its active view cut where the transcript cuts it, unless somebody cut it otherwise here. */
export function withCompaction(row: SessionRow, gain: RecordGain | null, hashes: Record<string, string>, created: boolean): SessionRow {
  const through = gain?.compactedThrough;
  if (through === undefined) return row;
  const decision = created ? 'apply' : decideField(hashes.compactedThrough, row.compactedThrough || null, through || null);
  hashes.compactedThrough = hashValue(through || null);
  return decision === 'apply' ? { ...row, compactedThrough: through } : row;
}

/** The source's fields, the transcript speaking where the store does not. */
export function withFacts(row: SessionRow, fields: SourceFields, gain: RecordGain | null): SourceFields {
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
