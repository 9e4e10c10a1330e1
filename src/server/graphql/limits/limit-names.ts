import type { DomainError, ErrorCode } from '../../../errors.ts';

/** The limits that have their own error code. */
const LIMIT_OF_CODE: Readonly<Partial<Record<ErrorCode, string>>> = {
  PAGE_SIZE_TOO_LARGE: 'page_size',
  MESSAGE_TOO_LARGE: 'message_size',
  TITLE_TOO_LONG: 'title_size',
  RATE_LIMIT_EXCEEDED: 'rate',
  QUERY_TOO_DEEP: 'query_depth',
  REQUEST_TOO_LARGE: 'request_size',
  REQUEST_TIMEOUT: 'request_time',
};

/** The name of the exceeded limit, as in the metrics; null if the error is about no limit. Limits with the same code differ in their details. */
export function limitOf(failure: DomainError | null): string | null {
  if (failure === null) return null;
  const { code, details } = failure;
  if (code === 'QUERY_TOO_COMPLEX') {
    if ('cost' in details) return 'query_cost';
    if ('maxBytes' in details) return 'response_size';
    return 'running' in details ? 'socket_operations' : 'query_size';
  }
  if (code === 'RATE_LIMIT_EXCEEDED' && details.limit === 'streams') return 'streams';
  if (code === 'GRAPHQL_PARSE_FAILED') return 'maxTokens' in details ? 'query_tokens' : null;
  return LIMIT_OF_CODE[code] ?? null;
}
