import type { DateTimeRange } from '../session-filter/session-filter.rules.ts';
import type { MessageRole } from './message.loader.ts';

/** ACTIVE: the path from the root to the leaf, without compacted messages. ALL: every branch. */
export type BranchView = 'ACTIVE' | 'ALL';

/** Selects messages of a session; the fields are joined by AND. */
export interface MessageFilter {
  readonly roles?: readonly MessageRole[] | null;
  readonly createdAt?: DateTimeRange | null;
  readonly afterPosition?: number | null;
  readonly search?: string | null;
}
