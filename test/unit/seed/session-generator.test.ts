import { describe, expect, it } from 'vitest';
import { generateSessions, type SeedOptions, type SeedSession } from '../../../scripts/seed/session-generator.ts';
import { SessionKind } from '../../../src/generated/prisma/enums.ts';
import { contentOf, partsOfStored } from '../../../src/modules/message/message.rules.ts';
import { isTerminal, type SessionStatus, TOKEN_LIMIT_REASON } from '../../../src/modules/session/session.rules.ts';
import { canonicalKey } from '../../../src/modules/session-key/session-key.rules.ts';
import { reachesTokenLimit } from '../../../src/modules/usage/usage.rules.ts';

const OPTIONS: SeedOptions = {
  sessions: 1_000,
  messages: 20,
  seed: 1,
  until: new Date('2026-03-01T12:00:00.000Z'),
  keys: { defaultAgent: 'main', mainKey: 'main' },
};
const AT_WORK: readonly SessionStatus[] = ['SPAWNING', 'WORKING'];
const STALLED_AFTER_MS = 300_000;
const WINDOW_MS = 30 * 86_400_000;

const generate = (changes: Partial<SeedOptions> = {}) => [...generateSessions({ ...OPTIONS, ...changes })];
const sessions = generate();

const isCurrent = ({ session }: SeedSession) => session.deletedAt === null && session.supersededAt === null;

describe('generateSessions', () => {
  it('gives the same rows for the same options', () => {
    expect(generate()).toEqual(sessions);
  });

  it('leaves the first sessions as they are if more are generated', () => {
    expect(generate({ sessions: 1_050 }).slice(0, 1_000)).toEqual(sessions);
  });

  it('keeps the ids if --until changes, and gives other ids for another seed', () => {
    const ids = (of: SeedSession[]) => of.map(({ session }) => session.id);
    expect(ids(generate({ until: new Date('2026-03-02T12:00:00.000Z') }))).toEqual(ids(sessions));
    const others = new Set(ids(generate({ seed: 2 })));
    expect(ids(sessions).some(id => others.has(id))).toBe(false);
  });

  it('has every seeded status, every kind and every mark in a small seed', () => {
    const few = generate({ sessions: 20 }).map(({ session }) => session);
    expect(new Set(few.map(({ status }) => status))).toEqual(new Set(['STALLED', 'ACTIVE', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED']));
    expect(new Set(few.map(({ kind }) => kind))).toEqual(new Set(Object.values(SessionKind)));
    for (const field of ['archivedAt', 'pinnedAt', 'supersededAt', 'deletedAt', 'parentId'] as const) {
      expect(
        few.filter(session => session[field] !== null),
        field,
      ).not.toEqual([]);
    }
  });

  it('has no session that the sweeper could mark as stalled', () => {
    expect(sessions.filter(({ session }) => AT_WORK.includes(session.status))).toEqual([]);
  });

  it('gives the same answers at every --until: only the instants move', () => {
    const offsetMs = 1_234_567;
    const later = generate({ until: new Date(OPTIONS.until.getTime() + offsetMs) });
    const withoutInstants = (of: SeedSession[]) =>
      of.map(({ session, messages }) => [session.title, session.status, session.agentId, messages.map(({ content }) => content)]);
    expect(withoutInstants(later)).toEqual(withoutInstants(sessions));
    const newestFirst = (of: SeedSession[]) =>
      of.toSorted((a, b) => b.activity.lastActivityAt.getTime() - a.activity.lastActivityAt.getTime()).map(({ session }) => session.id);
    expect(newestFirst(later)).toEqual(newestFirst(sessions));
  });

  it('numbers the messages of a session 1, 2, 3 and sums up their usage', () => {
    for (const { activity, messages } of sessions) {
      expect(messages.map(({ position }) => position)).toEqual(Array.from({ length: OPTIONS.messages }, (_, index) => BigInt(index + 1)));
      const sum = (field: 'totalTokens' | 'inputTokens' | 'outputTokens' | 'cacheReadTokens' | 'cacheWriteTokens' | 'costNanoUsd') =>
        messages.reduce((total, message) => total + (message[field] ?? 0n), 0n);
      expect(activity).toMatchObject({
        messageCount: OPTIONS.messages,
        nextPosition: BigInt(OPTIONS.messages + 1),
        leafPosition: BigInt(OPTIONS.messages),
        lastMessageAt: messages.at(-1)?.createdAt,
        inputTokens: sum('inputTokens'),
        outputTokens: sum('outputTokens'),
        cacheReadTokens: sum('cacheReadTokens'),
        cacheWriteTokens: sum('cacheWriteTokens'),
        totalTokens: sum('totalTokens'),
        costNanoUsd: sum('costNanoUsd'),
      });
    }
  });

  it('marks exactly the path from the leaf to the root as the active branch, and has abandoned branches too', () => {
    let abandoned = 0;
    for (const { messages } of sessions) {
      const path = new Set<bigint>();
      for (let at = messages.at(-1); at !== undefined; ) {
        path.add(at.position);
        const { parentPosition } = at;
        at = parentPosition === null ? undefined : messages[Number(parentPosition) - 1];
      }
      expect(messages.filter(({ onBranch }) => onBranch).map(({ position }) => position)).toEqual([...path].reverse());
      abandoned += messages.length - path.size;
    }
    expect(abandoned).toBeGreaterThan(0);
  });

  it('has a result for every tool call, and content that matches the parts', () => {
    for (const message of sessions.flatMap(({ messages }) => messages)) {
      expect(contentOf(partsOfStored(message.parts, message.content))).toBe(message.content);
    }
    for (const { messages } of sessions) {
      const parts = messages.flatMap(message => message.parts ?? []);
      const called = parts.flatMap(part => (part.type === 'toolCall' ? [part.callId] : []));
      expect(parts.flatMap(part => (part.type === 'toolResult' ? [part.callId] : []))).toEqual(called);
    }
  });

  it('generates parents before their children, in trees of several levels', () => {
    const depths = new Map<string, number>();
    for (const { session } of sessions) {
      const above = session.parentId === null ? -1 : depths.get(session.parentId);
      expect(above, session.id).toBeDefined();
      depths.set(session.id, (above ?? 0) + 1);
    }
    expect(new Set(depths.values())).toEqual(new Set([0, 1, 2, 3]));
  });

  it('uses canonical keys of the right agent, and each key and label once among the current sessions', () => {
    const seen = new Set<string>();
    for (const { session } of sessions.filter(isCurrent)) {
      for (const name of [session.key && `key ${session.key}`, session.label && `label ${session.label}`]) {
        if (!name) continue;
        expect(seen.has(`${session.agentId} ${name}`), name).toBe(false);
        seen.add(`${session.agentId} ${name}`);
      }
    }
    for (const { session } of sessions) {
      if (session.key === null) continue;
      const canonical = canonicalKey(session.key, OPTIONS.keys);
      expect(canonical.key).toBe(session.key);
      expect(canonical.agentId ?? session.agentId).toBe(session.agentId);
    }
  });

  it('ends a superseded session when the next holder of its key begins', () => {
    const superseded = sessions.filter(({ session }) => session.supersededAt !== null);
    expect(superseded).not.toEqual([]);
    for (const { session } of superseded) {
      const successors = sessions.filter(
        ({ session: other }) => other.agentId === session.agentId && other.key === session.key && other.id !== session.id,
      );
      expect(
        successors.some(({ session: other }) => other.createdAt.getTime() === session.supersededAt?.getTime()),
        session.id,
      ).toBe(true);
    }
  });

  it('keeps instants in order and within the 30 days', () => {
    for (const { session, activity, messages } of sessions) {
      const { startedAt, endedAt } = session;
      const instants = [
        startedAt,
        ...messages.map(({ createdAt }) => createdAt),
        activity.lastActivityAt,
        endedAt ?? activity.lastActivityAt,
        activity.updatedAt,
        OPTIONS.until,
      ];
      const times = instants.map(instant => instant.getTime());
      expect(times, session.id).toEqual([...times].sort((a, b) => a - b));
      expect(startedAt.getTime()).toBeGreaterThanOrEqual(OPTIONS.until.getTime() - WINDOW_MS);
      expect(endedAt !== null, session.status).toBe(isTerminal(session.status));
      expect(activity.lastActivityAt.getTime(), session.id).toBeGreaterThan(startedAt.getTime());
      const idleMs = OPTIONS.until.getTime() - activity.lastActivityAt.getTime();
      if (session.status === 'STALLED') expect(idleMs).toBeGreaterThan(STALLED_AFTER_MS);
    }
  });

  it('has sessions at their token limit if and only if they failed because of it', () => {
    for (const { session, activity } of sessions) {
      expect(reachesTokenLimit(activity.totalTokens, session.tokenLimit), session.id).toBe(session.statusReason === TOKEN_LIMIT_REASON);
    }
  });

  it.each([0, 1, 2, 3])('can generate conversations of %i messages', messages => {
    for (const made of generate({ sessions: 40, messages })) {
      expect(made.messages).toHaveLength(messages);
      expect(made.activity.leafPosition).toBe(messages === 0 ? null : BigInt(messages));
    }
  });
});
