/** Returns a session with its last messages, and the cursor up to which they are complete. One event is enough. */
export const OPEN_SESSION = `
  subscription ($sessionId: ID!) {
    sessionList(filter: { id: { eq: $sessionId } }, first: 1) {
      cursor
      snapshot { id messages(last: 50) { nodes { id position role content } } }
    }
  }`;

/** Delivers the messages added after that cursor. To resume, an operation takes `$after` and selects `cursor`. */
export const MESSAGE_ADDED = `
  subscription ($sessionId: ID!, $after: String) {
    messageAdded(sessionId: $sessionId, after: $after) {
      cursor
      message { id position role content }
    }
  }`;

export interface Message {
  id: string;
  position: number;
  role: string;
  content: string;
}

export interface Opened {
  sessionList: { cursor: string; snapshot: { id: string; messages: { nodes: Message[] } }[] | null };
}

/** The message is null if it has been deleted since. */
export interface Added {
  messageAdded: { cursor: string; message: Message | null };
}

/**
 * Keeps the messages of a session and calls `show` with all of them after each change.
 * They are stored by id, because a message that arrives while the session is opened may be in both answers.
 */
export function createMessageView(show: (messages: Message[]) => void) {
  const messages = new Map<string, Message>();
  return {
    begin({ sessionList }: Opened): void {
      messages.clear();
      for (const message of sessionList.snapshot?.[0]?.messages.nodes ?? []) messages.set(message.id, message);
      show([...messages.values()]);
    },
    add({ messageAdded: { message } }: Added): void {
      if (message === null) return;
      messages.set(message.id, message);
      show([...messages.values()]);
    },
  };
}

/** True if the event log no longer reaches back to the cursor. Open the session again. */
export function isExpired(errors: readonly { extensions?: Record<string, unknown> }[] = []): boolean {
  return errors.some(({ extensions }) => extensions?.code === 'CURSOR_EXPIRED');
}
