import type { ServerResponse } from 'node:http';
import { SECURITY_HEADERS } from './security-headers.ts';

/**
 * The headers of a GraphQL response. They are collected in a list, because one `writeHead` with all of them costs much less than setting
 * each. If another part of the server writes the response, `setOn` hands them over.
 */
export class ResponseHeaders {
  readonly #collected: string[] = [...SECURITY_HEADERS];
  #response: ServerResponse | null = null;

  /** Adds a header. Each name is added once. */
  add(name: string, value: string): void {
    if (this.#response === null) this.#collected.push(name, value);
    else if (!this.#response.headersSent) this.#response.setHeader(name, value);
  }

  /** Sets the headers on a response, those that are added later too. */
  setOn(response: ServerResponse): void {
    this.#response = response;
    for (let index = 0; index < this.#collected.length; index += 2) {
      response.setHeader(this.#collected[index] ?? '', this.#collected[index + 1] ?? '');
    }
  }

  /** The headers, as `writeHead` takes them: names and values in turn. */
  get list(): string[] {
    return this.#collected;
  }

  /** The same, as an object, to which other headers can be added or which they can replace. */
  toObject(): Record<string, string> {
    const headers: Record<string, string> = {};
    for (let index = 0; index < this.#collected.length; index += 2)
      headers[this.#collected[index] ?? ''] = this.#collected[index + 1] ?? '';
    return headers;
  }
}
