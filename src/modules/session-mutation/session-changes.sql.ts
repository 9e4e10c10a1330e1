import { assignExpression, assignValue } from '../../postgres/columns/column-sql.ts';
import type { Sql } from '../../postgres/database.ts';
import { changedName, SESSION_COLUMNS } from '../session/session.columns.ts';
import type { SessionStatus } from '../session/session.rules.ts';

type SessionField = keyof typeof SESSION_COLUMNS;

/** The changes of a session that one call makes: the assignments of its UPDATE, and what its events say. */
export class SessionChanges {
  readonly assignments: Sql[] = [];
  /** GraphQL names of the changed fields, for the UPDATED event. Status, reason and end are not among them. */
  readonly changed: string[] = [];
  /** UUID of the parent, if the call sets it. */
  parentId: string | null = null;
  /** The new status and reason, if the call changes one of them or the end. */
  status: { readonly to: SessionStatus; readonly reason: string | null } | null = null;

  /** Sets a column to a value. */
  set(field: SessionField, value: unknown): void {
    this.#add(field, assignValue(SESSION_COLUMNS, field, value));
  }

  /** Sets a column to the result of an expression. */
  setTo(field: SessionField, expression: Sql): void {
    this.#add(field, assignExpression(field, expression));
  }

  #add(field: SessionField, assignment: Sql): void {
    this.assignments.push(assignment);
    const name = changedName(field);
    if (name !== null) this.changed.push(name);
  }
}
