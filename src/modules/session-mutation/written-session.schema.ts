import type { GraphQLResolveInfo } from 'graphql';
import type { Context } from '../../context.ts';
import { sessionNotFound } from '../../errors.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import type { SessionRow } from '../session/session.loader.ts';

/** A session that a mutation has written. The payload reads it only if the operation selects it, with the columns it selects. */
export interface Written {
  readonly sessionId: string;
}

/**
 * The session of a payload, read after the write.
 * @throws DomainError SESSION_NOT_FOUND if another call has removed it for good in the meantime
 */
export async function writtenSession({ sessionId }: Written, context: Context, info: GraphQLResolveInfo): Promise<SessionRow> {
  const session = await context.load.sessions.byId(sessionId, columnGroups(info, [[]]));
  if (session === null) throw sessionNotFound(sessionId);
  return session;
}
