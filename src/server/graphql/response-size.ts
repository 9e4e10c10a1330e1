import type { ExecutionResult } from 'graphql';
import { estimatedJsonSize, exactJsonSize } from '../../postgres/json-size.ts';
import type { MemoryBudget } from '../../postgres/response-memory.ts';

/** A response that used less memory than this, in bytes, is not worth counting until it has been sent. */
export const UNCOUNTED_BYTES = 64 * 1024;

/** The longest JSON escape of a character, such as `\u0007`. */
const MAX_BYTES_PER_CHARACTER = 6;

/**
 * Charges a response to the budget of its operation before it is serialized. A response can be much larger than the rows it is made of,
 * because aliases can repeat a value any number of times.
 * @param dataSize the approximate size of the data as JSON, in bytes; null if nobody has measured it
 * @throws as `MemoryBudget.addResponse`
 */
export function chargeResponse({ data, errors }: ExecutionResult, dataSize: number | null, budget: MemoryBudget, maxBytes: number): void {
  const parts = errors === undefined ? data : [data, errors];
  const size = (dataSize ?? estimatedJsonSize(data, maxBytes)) + (errors === undefined ? 0 : estimatedJsonSize(errors, maxBytes));
  if (size <= UNCOUNTED_BYTES) return;
  const isCertain = size * MAX_BYTES_PER_CHARACTER <= maxBytes || size > maxBytes;
  budget.addResponse(isCertain ? size : exactJsonSize(parts, maxBytes));
}
