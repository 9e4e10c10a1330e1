import type { IncomingMessage } from 'node:http';
import { DomainError } from '../../errors.ts';
import { assertScope } from '../../modules/viewer/viewer.rules.ts';
import type { Authenticator } from '../auth/authenticate.ts';
import { toDomainError } from '../graphql/error-model.ts';
import type { Metrics } from '../observe/metrics.ts';
import { sendError } from './responses.ts';
import type { RequestHandler } from './routes.ts';

const LOOPBACK_ADDRESS = /^(::ffff:)?127\.|^::1$/;

/** True if a program on this machine sent the request itself. A proxy on this machine adds headers that name the real client. */
function isFromThisMachine({ socket, headers }: IncomingMessage): boolean {
  if (headers.forwarded !== undefined || headers['x-forwarded-for'] !== undefined) return false;
  return LOOPBACK_ADDRESS.test(socket.remoteAddress ?? '');
}

/**
 * Metrics are for the operators of the server: programs on this machine, and callers with READ on all agents. A request with credentials is
 * judged by its credentials only.
 * @throws DomainError UNAUTHORIZED, FORBIDDEN, SERVICE_UNAVAILABLE
 */
async function assertMayReadMetrics(request: IncomingMessage, authenticator: Authenticator): Promise<void> {
  const { authorization = null } = request.headers;
  if (isFromThisMachine(request) && (authorization === null || authenticator.isOpen())) return;
  if (authenticator.isOpen())
    throw new DomainError('FORBIDDEN', 'While authentication is off, only programs on this machine may read metrics.');
  const { viewer } = await authenticator.authenticate(authorization);
  assertScope(viewer, 'READ', 'to read metrics');
  if (viewer.agentIds !== null) throw new DomainError('FORBIDDEN', 'Metrics cover all agents, but this key is restricted to some agents.');
}

/** Serves the metrics in Prometheus' text format. */
export function createMetricsHandler(metrics: Metrics, authenticator: Authenticator): RequestHandler {
  return async (request, response) => {
    try {
      await assertMayReadMetrics(request, authenticator);
    } catch (error) {
      const failure = toDomainError(error);
      if (failure === null) throw error;
      return sendError(request, response, failure);
    }
    const { contentType, text } = await metrics.render();
    response.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store' }).end(text);
    return undefined;
  };
}
