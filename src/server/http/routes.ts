import type { IncomingMessage, ServerResponse } from 'node:http';

/** Answers one request. */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/** One entry of the server's table of routes. */
export interface Route {
  /** `GET` also matches HEAD; `*` matches every method. */
  readonly method: 'GET' | '*';
  /** The exact path, without a query string. */
  readonly path: string;
  /** If set, the route only matches requests whose `accept` header names this media type. */
  readonly accept?: string;
  /** If true, the route serves everybody: the check of origin and host is skipped. */
  readonly isPublic?: boolean;
  /** If true, the handler sets the security headers itself. */
  readonly setsSecurityHeaders?: boolean;
  readonly handler: RequestHandler;
}

/** The path of a request, without its query string. */
export function pathOf(request: IncomingMessage): string {
  const { url = '/' } = request;
  const end = url.indexOf('?');
  return end === -1 ? url : url.slice(0, end);
}

function matchesMethod(route: Route, method: string | undefined): boolean {
  return route.method === '*' || method === 'GET' || method === 'HEAD';
}

/** The first route that matches the request. */
export function findRoute(routes: readonly Route[], request: IncomingMessage): Route | undefined {
  const path = pathOf(request);
  return routes.find(
    route =>
      route.path === path &&
      matchesMethod(route, request.method) &&
      (route.accept === undefined || request.headers.accept?.includes(route.accept) === true),
  );
}
