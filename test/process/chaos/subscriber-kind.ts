/** A subscription, and independently of it what of the log it must give. */
export interface SubscriberKind {
  readonly name: string;
  /** The root field. */
  readonly field: 'sessionEvents' | 'messageAdded' | 'sessionStatusChanged';
  readonly query: string;
  /** Without `after`. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** The same in SQL: a condition on the row `e` of the log. */
  readonly condition: string;
}

/** What the filters name. */
export interface KnownSessions {
  /** Sessions that are never deleted and take messages all the time. */
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

const list = (values: readonly string[]) => values.map(value => `'${value}'`).join(', ');

/**
 * That the event's session is one of these or a descendant of one at that place of the log: for each link from a child to its parent the
 * events between which it stood, both included, and for each descendant those for which all links above it did.
 */
function isBelow(roots: readonly string[]): string {
  return `e.seq in (
    with recursive link as (
      select made.session_id as child, (made.payload ->> 'parentId')::uuid as parent, made.seq as since, (
        select min(cut.seq) from aria_engine.session_events cut where cut.session_id = made.session_id and cut.seq > made.seq
          and (cut.payload ? 'formerParentId' or cut.payload ->> 'permanent' = 'true')
      ) as until
      from aria_engine.session_events made where made.type in ('CREATED', 'UPDATED') and made.payload ? 'parentId'
    ), below as (
      select id, 0::bigint as since, 9223372036854775807 as until from unnest(array[${list(roots)}]::uuid[]) id
      union
      select link.child, greatest(below.since, link.since), least(below.until, coalesce(link.until, below.until))
      from below join link on link.parent = below.id
        and greatest(below.since, link.since) <= least(below.until, coalesce(link.until, below.until))
    )
    select told.seq from below join aria_engine.session_events told
      on told.session_id = below.id and told.seq between below.since and below.until
  )`;
}

/** One of each kind of filter. */
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
    events('two agents', { agentIds: agents.slice(1) }, `e.agent_id in (${list(agents.slice(1))})`, EVENTS_WITH_SESSION),
    events('messages', { types: messageTypes }, `e.type in (${list(messageTypes)})`),
    events('all but messages', { types: otherTypes }, `e.type in (${list(otherTypes)})`),
    events('sessions', { sessionIds: [first, second] }, `e.session_id in (${list([first, second])})`, EVENTS_WITH_SESSION),
    events(
      'messages of sessions of an agent',
      { sessionIds: common, types: messageTypes, agentIds: [agents[0]] },
      `e.session_id in (${list(common)}) and e.type in (${list(messageTypes)}) and e.agent_id = '${agents[0]}'`,
    ),
    events('descendants', { sessionIds: [first], includeDescendants: true }, isBelow([first])),
    events(
      'descendants of an agent',
      { sessionIds: [first, second], includeDescendants: true, agentIds: [agents[1]] },
      `${isBelow([first, second])} and e.agent_id = '${agents[1]}'`,
    ),
    events(
      'what is made of descendants',
      { sessionIds: [second, third], includeDescendants: true, types: otherTypes },
      `${isBelow([second, third])} and e.type in (${list(otherTypes)})`,
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
