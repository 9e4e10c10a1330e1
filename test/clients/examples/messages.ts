/** A session with its last messages, and the place in the log up to which that is all. The first event is enough. */
export const OPEN_SESSION = `
  subscription ($sessionId: ID!) {
    sessionList(filter: { id: { eq: $sessionId } }, first: 1) {
      cursor
      snapshot { id messages(last: 50) { nodes { id position role content } } }
    }
  }`;

/** The messages added behind that place. To resume, it takes `$after` and selects `cursor`. */
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

/** The message is null where it has been deleted since. */
export interface Added {
  messageAdded: { cursor: string; message: Message | null };
}

/** The messages of a session, shown whenever they change. By id: one that comes while the session is opened may be in both answers. */
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

/** Whether the log no longer reaches back to the cursor: then begin anew. */
export function isExpired(errors: readonly { extensions?: Record<string, unknown> }[] = []): boolean {
  return errors.some(({ extensions }) => extensions?.code === 'CURSOR_EXPIRED');
}
