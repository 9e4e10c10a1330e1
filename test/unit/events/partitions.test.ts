import { expect, it } from 'vitest';
import { partitionNameOf } from '../../../src/events/partitions.ts';

it("partitionNameOf returns the name of the UTC day's partition", () => {
  expect(partitionNameOf(new Date('2026-03-04T23:59:59.999-05:00'))).toBe('session_events_20260305');
});
