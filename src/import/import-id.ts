import { v5 } from 'uuid';
import { parseUuid } from '../global-id.ts';

/** Every id an import makes hangs on this; changing it would make second copies of everything imported before. */
const IMPORT_NAMESPACE = '5b0f6a52-6a0e-4f7c-9c0b-6d0c3f1f7a11';

/**
 * The UUID of an imported session: its own where it has one, else the same for the same system, agent and id every time.
 * @param agentId the agent whose store or folder it lies in, normalised
 */
export function importedSessionId(system: string, agentId: string, externalId: string): string {
  return parseUuid(externalId) ?? v5(`${system}:${agentId}:${externalId}`, IMPORT_NAMESPACE);
}

/** The UUID of an imported message; entry ids are unique only within their session. */
export function importedMessageId(sessionId: string, entryId: string): string {
  // As bytes, because a session's id may have the form of a UUID without being one of a known version.
  return v5(entryId, Buffer.from(sessionId.replaceAll('-', ''), 'hex'));
}
