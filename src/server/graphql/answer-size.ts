import type { ExecutionResult } from 'graphql';
import type { AnswerShare } from '../../postgres/answer-memory.ts';
import { exactSizeOf, sizeOf } from '../../postgres/value-size.ts';

/** Answers up to this size, in bytes, are not worth counting. */
const SMALL_BYTES = 64 * 1024;

/** A character takes at most so many bytes: those that JSON escapes by their number. */
const MAX_BYTES_PER_CHARACTER = 6;

/**
 * Measures the answer before it is written out as one text, and holds it in the share of the operation: one value may stand in an answer
 * any number of times, under names as long as its sender likes.
 * @throws as `AnswerShare.answer`
 */
export function holdAnswer({ data, errors }: ExecutionResult, share: AnswerShare, maxBytes: number): void {
  const parts = errors === undefined ? data : [data, errors];
  const size = sizeOf(parts, maxBytes);
  if (size <= SMALL_BYTES) return;
  share.answer(size * MAX_BYTES_PER_CHARACTER <= maxBytes || size > maxBytes ? size : exactSizeOf(parts, maxBytes));
}
