import { v5 } from 'uuid';
import { parseUuid } from '../global-id.ts';

/** Never change it: every imported id depends on it, and the next import would create second copies of everything. */
const IMPORT_NAMESPACE = '5b0f6a52-6a0e-4f7c-9c0b-6d0c3f1f7a11';

/**
 * The UUID of an imported session: its own id if that is a UUID, else one derived from system, agent and id.
 * @param agentId the agent whose store or folder holds the session, normalised
 */
export function importedSessionId(system: string, agentId: string, externalId: string): string {
  return parseUuid(externalId) ?? v5(`${system}:${agentId}:${externalId}`, IMPORT_NAMESPACE);
}

/** The UUID of an imported message, derived from session and entry: entry ids are unique only within their session. */
export function importedMessageId(sessionId: string, entryId: string): string {
  // As bytes, because v5 rejects a text that looks like a UUID but has no known version.
  return v5(entryId, Buffer.from(sessionId.replaceAll('-', ''), 'hex'));
}
