import { DomainError } from '../../errors.ts';
import { violatedUniqueIndex } from '../../postgres/sql-state.ts';

/** The error code for a violation of each unique index of chat_sessions. */
const TAKEN = { chat_sessions_key_unique: 'KEY_TAKEN', chat_sessions_label_unique: 'LABEL_TAKEN' } as const;

/** The names that are unique among the sessions of an agent, without sessions that are superseded or in the trash. */
export interface SessionNames {
  readonly key: string | null;
  readonly label: string | null;
}

/**
 * KEY_TAKEN or LABEL_TAKEN if a write failed because another session has the name; otherwise the error itself.
 * @param names the names of the write, for the message
 * @param isInput whether the names are in the input of the call
 */
export function toNameTaken(error: unknown, names: SessionNames, isInput: boolean): unknown {
  const index = violatedUniqueIndex(error);
  if (index !== 'chat_sessions_key_unique' && index !== 'chat_sessions_label_unique') return error;
  return nameTaken(TAKEN[index], names, isInput);
}

/** The error KEY_TAKEN or LABEL_TAKEN. @param isInput whether the names are in the input of the call */
export function nameTaken(code: 'KEY_TAKEN' | 'LABEL_TAKEN', names: SessionNames, isInput: boolean): DomainError {
  const name = code === 'KEY_TAKEN' ? 'key' : 'label';
  return new DomainError(code, `Another session of this agent has the ${name} ${JSON.stringify(names[name])}.`, {
    ...(isInput ? { field: `input.${name}` } : {}),
    value: names[name],
  });
}
