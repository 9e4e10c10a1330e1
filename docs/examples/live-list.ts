const ROW = 'id sessionId title status lastActivityAt';
const PARAMETERS = '$filter: SessionFilter, $orderBy: [SessionOrder!], $first: Int';
const LIST = 'filter: $filter, orderBy: $orderBy, first: $first';

export const LIST_SUBSCRIPTION = `
  subscription (${PARAMETERS}) {
    sessionList(${LIST}) {
      snapshot { ${ROW} }
      changes { fromIndex toIndex node { ${ROW} } }
    }
  }`;

/** The same list as a query: the form in which a cache stores it. */
export const LIST_QUERY = `query (${PARAMETERS}) { sessions(${LIST}) { nodes { ${ROW} } } }`;

export interface ListVariables {
  filter?: Record<string, unknown>;
  orderBy?: { field: string; direction?: 'ASC' | 'DESC' }[];
  first?: number;
}

export interface ListRow {
  id: string;
  sessionId: string;
  title: string | null;
  status: string;
  lastActivityAt: string;
}

/** An event of `sessionList`. */
export interface ListEvent<Row> {
  snapshot: readonly Row[] | null;
  changes: readonly { fromIndex: number | null; toIndex: number | null; node: Row | null }[];
}

export interface ListData {
  sessionList: ListEvent<ListRow>;
}

/** Returns the list after an event. */
export function applyListEvent<Row>(list: readonly Row[], { snapshot, changes }: ListEvent<Row>): readonly Row[] {
  if (snapshot !== null) return snapshot;
  const next = [...list];
  for (const { fromIndex, toIndex, node } of changes) {
    if (fromIndex !== null) next.splice(fromIndex, 1);
    if (toIndex !== null && node !== null) next.splice(toIndex, 0, node);
  }
  return next;
}
