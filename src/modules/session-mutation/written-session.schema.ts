import type { GraphQLResolveInfo } from 'graphql';
import type { Context } from '../../context.ts';
import { sessionNotFound } from '../../errors.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import type { SessionRow } from '../session/session.loader.ts';

/** A session that a mutation wrote; it is read when the payload's field is asked for, with the columns asked for. */
export interface Written {
  readonly sessionId: string;
}

/**
 * The session of a payload, as it stands after the write.
 * @throws DomainError SESSION_NOT_FOUND where another has removed it for good since
 */
export async function writtenSession({ sessionId }: Written, context: Context, info: GraphQLResolveInfo): Promise<SessionRow> {
  const session = await context.load.sessions.byId(sessionId, columnGroups(info, [[]]));
  if (session === null) throw sessionNotFound(sessionId);
  return session;
}
