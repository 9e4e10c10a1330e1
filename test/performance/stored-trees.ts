import { type StoredSession, storedSession } from '../api/session-filter/stored-session.ts';

const START = Date.UTC(2026, 0, 1);

/** Builds `count` sessions of five agents, oldest first. Nine of ten have an earlier session as parent. Each has `messages` messages. */
export function storedTrees(count: number, messages: number): StoredSession[] {
  const sessions: StoredSession[] = [];
  for (let index = 0; index < count; index += 1) {
    const parent = index % 10 === 0 ? undefined : sessions[Math.floor(index / 3)];
    sessions.push(
      storedSession({
        agentId: `agent-${index % 5}`,
        title: `Session ${index}`,
        parentId: parent?.id ?? null,
        createdAt: new Date(START + index * 60_000),
        messages: Array.from({ length: messages }, (_, position) => `message ${position} of session ${index}`),
      }),
    );
  }
  return sessions;
}
