import { DomainError } from '../../errors.ts';
import { violatedUniqueIndex } from '../../postgres/sql-state.ts';

/** Unique indexes of chat_sessions, and the code each stands for. */
const TAKEN = { chat_sessions_key_unique: 'KEY_TAKEN', chat_sessions_label_unique: 'LABEL_TAKEN' } as const;

/** The names of a session that no other of its agent may have, unless that is superseded or in the trash. */
export interface SessionNames {
  readonly key: string | null;
  readonly label: string | null;
}

/**
 * The failure a write ran into: a taken key or label under its own code, anything else as it was.
 * @param names what was to be written, for the message
 */
export function takenOr(error: unknown, names: SessionNames): unknown {
  const index = violatedUniqueIndex(error);
  if (index !== 'chat_sessions_key_unique' && index !== 'chat_sessions_label_unique') return error;
  return nameTaken(TAKEN[index], names);
}

/** KEY_TAKEN or LABEL_TAKEN. */
export function nameTaken(code: 'KEY_TAKEN' | 'LABEL_TAKEN', names: SessionNames): DomainError {
  const field = code === 'KEY_TAKEN' ? 'key' : 'label';
  return new DomainError(code, `Another session of this agent has the ${field} ${JSON.stringify(names[field])}.`, {
    field,
    value: names[field],
  });
}
