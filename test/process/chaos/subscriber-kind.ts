/** A subscription, and the SQL condition that selects the events it must deliver. */
export interface SubscriberKind {
  readonly name: string;
  /** The root field. */
  readonly field: 'sessionEvents' | 'messageAdded' | 'sessionStatusChanged';
  readonly query: string;
  /** The variables, without `after`. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** The filter as a condition in SQL on a row `e` of the event table. */
  readonly condition: string;
}

/** The sessions and agents that the filters name. */
export interface KnownSessions {
  /** Sessions that every writer writes to and that are never deleted. */
  readonly common: readonly [string, string, string, ...string[]];
  readonly agents: readonly [string, string, string];
}

const EVENT = '__typename cursor occurredAt sessionId agentId';

const EVENT_OF_ANY_TYPE = `${EVENT}
  ... on SessionUpdatedEvent { changed } ... on SessionStatusChangedEvent { from to } ... on SessionDeletedEvent { permanent }
  ... on MessageDeletedEvent { messageId } ... on MessageAddedEvent { message { position content } }`;

const EVENTS = `subscription Events($filter: SessionEventFilter, $after: String) {
  sessionEvents(filter: $filter, after: $after) { ${EVENT_OF_ANY_TYPE} } }`;
const EVENTS_WITH_SESSION = `subscription EventsWithSession($filter: SessionEventFilter, $after: String) {
  sessionEvents(filter: $filter, after: $after) { ${EVENT_OF_ANY_TYPE} session { id title status version } } }`;
const MESSAGES = `subscription Messages($sessionId: ID!, $after: String) {
  messageAdded(sessionId: $sessionId, after: $after) { ${EVENT} message { position } } }`;
const STATUSES = `subscription Statuses($sessionId: ID, $agentId: String, $after: String) {
  sessionStatusChanged(sessionId: $sessionId, agentId: $agentId, after: $after) { ${EVENT} from to } }`;

const toSqlList = (values: readonly string[]) => values.map(value => `'${value}'`).join(', ');

/**
 * A condition: when the event was written, its session was one of the roots or a descendant of one.
 * `link` has each link from a child to its parent, with the first and last event while it existed. `below` has each root and
 * descendant, with the first and last event while all links above it existed.
 */
function isInTreeOf(roots: readonly string[]): string {
  return `e.seq in (
    with recursive link as (
      select linked.session_id as child, (linked.payload ->> 'parentId')::uuid as parent, linked.seq as since, (
        select min(unlinked.seq) from aria_engine.session_events unlinked where unlinked.session_id = linked.session_id
          and unlinked.seq > linked.seq and (unlinked.payload ? 'formerParentId' or unlinked.payload ->> 'permanent' = 'true')
      ) as until
      from aria_engine.session_events linked where linked.type in ('CREATED', 'UPDATED') and linked.payload ? 'parentId'
    ), below as (
      select id, 0::bigint as since, 9223372036854775807 as until from unnest(array[${toSqlList(roots)}]::uuid[]) id
      union
      select link.child, greatest(below.since, link.since), least(below.until, coalesce(link.until, below.until))
      from below join link on link.parent = below.id
        and greatest(below.since, link.since) <= least(below.until, coalesce(link.until, below.until))
    )
    select event.seq from below join aria_engine.session_events event
      on event.session_id = below.id and event.seq between below.since and below.until
  )`;
}

/** Returns one subscription for each kind of filter. */
export function subscriberKinds({ common, agents }: KnownSessions): readonly SubscriberKind[] {
  const [first, second, third] = common;
  const events = (name: string, filter: object | null, condition: string, query = EVENTS): SubscriberKind => ({
    name,
    field: 'sessionEvents',
    query,
    variables: { filter },
    condition,
  });
  const messageTypes = ['MESSAGE_ADDED', 'MESSAGE_DELETED'];
  const otherTypes = ['CREATED', 'UPDATED', 'STATUS_CHANGED', 'DELETED', 'RESTORED'];
  return [
    events('all', null, 'true'),
    events('all with sessions', {}, 'true', EVENTS_WITH_SESSION),
    events('an agent', { agentIds: [agents[0]] }, `e.agent_id = '${agents[0]}'`),
    events('two agents', { agentIds: agents.slice(1) }, `e.agent_id in (${toSqlList(agents.slice(1))})`, EVENTS_WITH_SESSION),
    events('messages', { types: messageTypes }, `e.type in (${toSqlList(messageTypes)})`),
    events('all but messages', { types: otherTypes }, `e.type in (${toSqlList(otherTypes)})`),
    events('sessions', { sessionIds: [first, second] }, `e.session_id in (${toSqlList([first, second])})`, EVENTS_WITH_SESSION),
    events(
      'messages of sessions of an agent',
      { sessionIds: common, types: messageTypes, agentIds: [agents[0]] },
      `e.session_id in (${toSqlList(common)}) and e.type in (${toSqlList(messageTypes)}) and e.agent_id = '${agents[0]}'`,
    ),
    events('descendants', { sessionIds: [first], includeDescendants: true }, isInTreeOf([first])),
    events(
      'descendants of an agent',
      { sessionIds: [first, second], includeDescendants: true, agentIds: [agents[1]] },
      `${isInTreeOf([first, second])} and e.agent_id = '${agents[1]}'`,
    ),
    events(
      'descendants without messages',
      { sessionIds: [second, third], includeDescendants: true, types: otherTypes },
      `${isInTreeOf([second, third])} and e.type in (${toSqlList(otherTypes)})`,
      EVENTS_WITH_SESSION,
    ),
    {
      name: 'messageAdded',
      field: 'messageAdded',
      query: MESSAGES,
      variables: { sessionId: first },
      condition: `e.session_id = '${first}' and e.type = 'MESSAGE_ADDED'`,
    },
    { name: 'sessionStatusChanged', field: 'sessionStatusChanged', query: STATUSES, variables: {}, condition: `e.type = 'STATUS_CHANGED'` },
    {
      name: 'sessionStatusChanged of an agent',
      field: 'sessionStatusChanged',
      query: STATUSES,
      variables: { agentId: agents[2] },
      condition: `e.type = 'STATUS_CHANGED' and e.agent_id = '${agents[2]}'`,
    },
    {
      name: 'sessionStatusChanged of a session',
      field: 'sessionStatusChanged',
      query: STATUSES,
      variables: { sessionId: second },
      condition: `e.type = 'STATUS_CHANGED' and e.session_id = '${second}'`,
    },
  ];
}
