import { DomainError } from '../../errors.ts';
import { characterCount } from '../text/text.rules.ts';

/** A part of a message as it is stored, in `chat_messages.parts`. */
export type StoredPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'thinking'; readonly text: string; readonly redacted: boolean }
  | { readonly type: 'toolCall'; readonly callId: string; readonly name: string; readonly arguments: unknown }
  | {
      readonly type: 'toolResult';
      readonly callId: string;
      readonly name?: string;
      readonly content: string;
      readonly isError: boolean;
      readonly details?: unknown;
    }
  | { readonly type: 'image'; readonly mimeType: string; readonly url?: string; readonly data?: string }
  | OtherStoredPart;

/** A part of a kind that this server does not know. It is stored unchanged. */
export interface OtherStoredPart {
  readonly type: 'other';
  /** Its `type` is shown as the part's type. */
  readonly data: { readonly type: string } & Readonly<Record<string, unknown>>;
}

/** Maximum length of a message's content in the API, in characters (code points). */
export const MAX_MESSAGE_LENGTH = 100_000;

/** Maximum number of characters of content and parts in one call. */
export const MAX_CALL_LENGTH = 1_000_000;

/** The plain text of a message: its text parts joined by newlines or, if it has none, the text of its tool results. */
export function contentOf(parts: readonly StoredPart[]): string {
  const texts = parts.flatMap(part => (part.type === 'text' ? [part.text] : []));
  const shown = texts.length > 0 ? texts : parts.flatMap(part => (part.type === 'toolResult' ? [part.content] : []));
  return shown.join('\n');
}

/** The value of the column `parts`: null if the only part is the text of `content`, which would otherwise be stored twice. */
export function partsToStore(parts: readonly StoredPart[], content: string): readonly StoredPart[] | null {
  const [only] = parts;
  return parts.length === 1 && only?.type === 'text' && only.text === content ? null : parts;
}

/** The parts of a stored message, the inverse of `partsToStore`. */
export function partsOfStored(parts: readonly StoredPart[] | null, content: string): readonly StoredPart[] {
  return parts ?? [{ type: 'text', text: content }];
}

/** Length of a part for the limit of a call: the characters of its texts, and of its JSON values as JSON. */
export function partLength({ type: _type, ...fields }: StoredPart): number {
  return Object.values(fields).reduce<number>((sum, value) => {
    if (typeof value === 'string') return sum + characterCount(value);
    return typeof value === 'object' ? sum + characterCount(JSON.stringify(value)) : sum;
  }, 0);
}

/**
 * MESSAGE_NOT_FOUND, also for a message of another session.
 * @param id as the caller wrote it
 */
export function messageNotFound(id: string): DomainError {
  return new DomainError('MESSAGE_NOT_FOUND', `There is no message ${id} in this session.`, { id });
}
