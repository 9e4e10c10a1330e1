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

/** A part of a kind this server does not know, kept whole. */
export interface OtherStoredPart {
  readonly type: 'other';
  /** An object whose own `type` is shown as the part's type. */
  readonly data: { readonly type: string } & Readonly<Record<string, unknown>>;
}

/** Longest content of a message taken by the API, in characters (code points). */
export const MAX_MESSAGE_LENGTH = 100_000;

/** Most characters of content and parts in one call. */
export const MAX_CALL_LENGTH = 1_000_000;

/** The plain text of a message: its text parts joined by newlines, else the text of its tool results. */
export function contentOf(parts: readonly StoredPart[]): string {
  const texts = parts.flatMap(part => (part.type === 'text' ? [part.text] : []));
  const shown = texts.length > 0 ? texts : parts.flatMap(part => (part.type === 'toolResult' ? [part.content] : []));
  return shown.join('\n');
}

/** What goes into the column: null where the one part is the text of `content`, which would only stand there twice. */
export function partsToStore(parts: readonly StoredPart[], content: string): readonly StoredPart[] | null {
  const [only] = parts;
  return parts.length === 1 && only?.type === 'text' && only.text === content ? null : parts;
}

/** The parts of a stored message, the inverse of `partsToStore`. */
export function partsOfStored(parts: readonly StoredPart[] | null, content: string): readonly StoredPart[] {
  return parts ?? [{ type: 'text', text: content }];
}

/** Characters of a part as the limit of a call counts them: its texts as they are, what is JSON as JSON. */
export function partLength({ type: _type, ...fields }: StoredPart): number {
  return Object.values(fields).reduce<number>((sum, value) => {
    if (typeof value === 'string') return sum + characterCount(value);
    return typeof value === 'object' ? sum + characterCount(JSON.stringify(value)) : sum;
  }, 0);
}
