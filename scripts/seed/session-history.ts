import type { Session } from '../../src/generated/prisma/client.ts';
import { isTerminal, type SessionStatus } from '../../src/modules/session/session.rules.ts';
import type { RandomSource } from './random-source.ts';
import { DAY, MINUTE, WINDOW } from './session-times.ts';

/** The columns of an earlier session that later sessions depend on. */
export type EarlierRow = Pick<
  Session,
  | 'id'
  | 'agentId'
  | 'key'
  | 'kind'
  | 'status'
  | 'displayName'
  | 'channel'
  | 'origin'
  | 'delivery'
  | 'createdAt'
  | 'startedAt'
  | 'supersededAt'
  | 'deletedAt'
>;

/** An earlier session: it may become the parent or the successor of a later one. */
interface EarlierSession {
  readonly session: EarlierRow;
  readonly lastActivityAt: Date;
  /** Number of ancestors. */
  readonly depth: number;
}

/** Only the last sessions can become a parent or a successor. */
const RECENT_SESSIONS = 64;
const MAX_DEPTH = 3;
/** An open session younger than this has no open children yet. */
const MIN_PARENT_AGE = 10 * MINUTE;
/** A session has a predecessor only if it began at least this long after the start of the window. */
const ROOM_FOR_PREDECESSOR = 3 * DAY;

/** The sessions generated so far, for the decisions about later ones. */
export class SessionHistory {
  readonly #until: Date;
  readonly #recent: EarlierSession[] = [];
  /** The earliest session of each key so far. A predecessor that is generated later ends when this session begins. */
  readonly #earliestHolders = new Map<string, EarlierRow>();
  readonly #labelUses = new Map<string, number>();

  /** @param until the end of the window in which the data lies */
  constructor(until: Date) {
    this.#until = until;
  }

  add(earlier: EarlierSession): void {
    this.#recent.push(earlier);
    if (this.#recent.length > RECENT_SESSIONS) this.#recent.shift();
    const { session } = earlier;
    if (session.key !== null && session.deletedAt === null) this.#earliestHolders.set(nameOf(session.agentId, session.key), session);
  }

  /** The earliest session that holds or held this key, or null. */
  earliestHolder(agentId: string, key: string | null): EarlierRow | null {
    return this.#earliestHolders.get(nameOf(agentId, key)) ?? null;
  }

  /** Whether there is time for another session with the same key before this one. */
  hasRoomBefore(session: EarlierRow): boolean {
    return this.#until.getTime() - session.createdAt.getTime() < WINDOW - ROOM_FOR_PREDECESSOR;
  }

  /** A chat session that a new session can precede as the holder of its key, or null. */
  drawSuccessor(random: RandomSource): EarlierRow | null {
    const [first, ...rest] = this.#recent
      .map(({ session }) => session)
      .filter(({ kind, deletedAt }) => (kind === 'DIRECT' || kind === 'GROUP') && deletedAt === null)
      .map(session => this.earliestHolder(session.agentId, session.key) ?? session)
      .filter(session => this.hasRoomBefore(session));
    return first === undefined ? null : random.pick([first, ...rest]);
  }

  /** A parent for a session with this status, or null. The parent of an open session is open too. */
  drawParent(status: SessionStatus, random: RandomSource): EarlierSession | null {
    const [first, ...rest] = this.#recent.filter(
      ({ session, depth }) =>
        depth < MAX_DEPTH &&
        session.deletedAt === null &&
        session.supersededAt === null &&
        (isTerminal(status) || (!isTerminal(session.status) && this.#until.getTime() - session.startedAt.getTime() > MIN_PARENT_AGE)),
    );
    return first === undefined ? null : random.pick([first, ...rest]);
  }

  /** The label, followed by a number if the agent has used it before. */
  uniqueLabel(agentId: string, label: string): string {
    const name = nameOf(agentId, label);
    const uses = (this.#labelUses.get(name) ?? 0) + 1;
    this.#labelUses.set(name, uses);
    return uses === 1 ? label : `${label}-${uses}`;
  }
}

function nameOf(agentId: string, name: string | null): string {
  return `${agentId} ${name}`;
}
