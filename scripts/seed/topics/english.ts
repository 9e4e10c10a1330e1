import type { Topic } from './topic.ts';

/** The topics in English, from which most conversations are made. */
export const ENGLISH_TOPICS: readonly [Topic, ...Topic[]] = [
  {
    category: 'engineering',
    project: 'platform',
    language: 'en',
    tags: ['backend', 'bug', 'reliability', 'typescript'],
    labels: ['retry-storm', 'flaky-build', 'lease-bug', 'slow-start'],
    titles: [
      'Retries of {service} overload the database',
      'Flaky test in {service}',
      'Memory growth in {service}',
      'Slow start of {service}',
    ],
    tasks: ['Find out why {service} retries without backing off and fix it.', 'Make the tests of {service} pass ten times in a row.'],
    openings: [
      'Since {day} the {service} service answers slowly under load. Can you find out why? The ticket is {ticket}.',
      'The build of {branch} fails about once in five runs. Please look into {file} and tell me what is going on.',
      '{person} says {service} leaks memory after the last deployment. Start with {file}, please.',
    ],
    requests: [
      'Good. Now add a test that fails without the change.',
      'What happens when two workers take the same lease at once?',
      'Can we keep the old behaviour behind a setting until {day}?',
      'Please also check {file}, I think it has the same problem.',
      'How sure are you that this is the cause, and not only a symptom?',
      '👍 Looks right to me. Write the summary for {ticket}.',
    ],
    answers: [
      'The retry loop in {file} starts again immediately, so every timeout of the database becomes {number} more queries.',
      'The test depends on the order in which two promises settle. I made it wait for the event instead of a fixed time.',
      'The cache never drops entries whose lease has ended, which explains the growth of {number} MB an hour.',
      'I have changed {file}: attempts now back off exponentially with jitter, and the total is bounded by a budget.',
      'Both callers take the lock in the same order now, so the deadlock of {ticket} cannot come up again.',
    ],
    details: [
      'With the change the error rate falls from {percent} % to below 0.1 % in the same load test.',
      'I left the public signature alone, so no caller has to change.',
      'Before merging I would ask {person} to review the part that touches the scheduler.',
      'The regression came in with the refactoring two weeks ago and was hidden by the larger connection pool.',
      'All {number} tests pass, including the new one, which fails on the old code as expected.',
    ],
    thoughts: [
      'The latency rises in steps, which looks like retries rather than slow queries. I should read the loop before guessing.',
      'If the lease were renewed in time, the second worker would never see it as free. Check the clock that decides this.',
      'A sleep in the test hides the race. Better to wait for the event that the code emits anyway.',
    ],
    tools: [
      {
        name: 'read_file',
        arguments: { path: '{file}' },
        results: [
          'export async function run(task: Task) {\n  for (;;) {\n    try {\n      return await task.attempt();\n    } catch (error) {\n      if (!isTransient(error)) throw error;\n    }\n  }\n}',
          'const leases = new Map<string, Lease>();\n\nexport function take(name: string, now: number): Lease | null {\n  const lease = leases.get(name);\n  return lease !== undefined && lease.until > now ? null : grant(name, now);\n}',
        ],
        failure: "ENOENT: no such file or directory, open '{file}'",
      },
      {
        name: 'exec',
        arguments: { command: 'npm test -- {service}', cwd: '/workspace/platform' },
        results: [
          '{number} passed, 0 failed (4.2 s)',
          '{number} passed, 1 failed (6.8 s)\n  not ok lease is taken once: expected 1, received 2',
        ],
        failure: 'Command exited with code 1: cannot connect to the test database',
      },
      {
        name: 'edit_file',
        arguments: { path: '{file}', replace: 'return await task.attempt();', with: 'return await withBudget(task);' },
        results: ['Edited {file}: 1 replacement.'],
        failure: 'The text to replace was not found in {file}.',
      },
    ],
  },
  {
    category: 'operations',
    project: 'infrastructure',
    language: 'en',
    tags: ['postgres', 'performance', 'ops', 'incident'],
    labels: ['nightly-vacuum', 'replica-lag', 'disk-alert', 'index-review'],
    titles: ['Replica lag on {table}', 'Disk usage alert in {city}', 'Index review of {table}', 'Nightly maintenance report'],
    tasks: ['Check the database {table} for bloat and unused indexes, and report.', 'Watch the replica until its lag is below one second.'],
    openings: [
      'The replica in {city} is {number} seconds behind since this morning. What holds it up?',
      'Alert: disk usage of the database host is at {percent} %. Please find the largest tables and suggest what to do.',
      'Run the nightly maintenance of the {table} table and send me a short report.',
    ],
    requests: [
      'Which indexes of {table} has nobody used for a month?',
      'Do it during the quiet hours, and stop if the load goes above {percent} %.',
      'What would a partial index save here?',
      'Show me the plan of the slow query, before and after.',
      'Is it safe to cancel that vacuum now?',
    ],
    answers: [
      'A long transaction on the primary keeps old row versions alive, and the vacuum of {table} cannot remove {number} dead rows.',
      'The largest table is {table}; about {percent} % of it is bloat left behind by the migration of last week.',
      'The query reads the whole table because the condition is on an expression. An index on that expression turns it into a short scan.',
      'Replication has caught up: the lag is below a second, and the queue of the {service} service is empty again.',
    ],
    details: [
      'Disk space will last for about {number} days at the current rate of growth.',
      'I created the index concurrently, so writers were never blocked.',
      'The checkpoint interval is too short for this write rate; a longer one would save {percent} % of the traffic to disk.',
      '{person} is informed and will look at the batch job that opened the transaction.',
    ],
    thoughts: [
      'Lag and bloat at the same time point at one old snapshot. Look at the oldest transaction first.',
      'Dropping an index is quick, creating it again is not. Confirm with the statistics of both servers.',
    ],
    tools: [
      {
        name: 'sql',
        arguments: { query: "select relname, n_dead_tup from pg_stat_user_tables where relname = '{table}'" },
        results: [
          ' relname  | n_dead_tup\n----------+------------\n {table} |    {number}00',
          ' relname  | n_dead_tup\n----------+------------\n {table} |          0',
        ],
        failure: 'ERROR: canceling statement due to statement timeout',
      },
      {
        name: 'metrics',
        arguments: { series: 'node_filesystem_avail_bytes', host: '{service}-db-1', range: '24h' },
        results: ['min 18.2 GiB, max 41.0 GiB, now {number}.3 GiB', 'no data before 04:00, then falling by {percent} MB an hour'],
        failure: 'The metrics server did not answer within 10 s.',
      },
    ],
  },
  {
    category: 'research',
    project: 'market-study',
    language: 'en',
    tags: ['research', 'summary', 'sources', 'web'],
    labels: ['competitor-scan', 'paper-digest', 'weekly-brief'],
    titles: ['Vector search engines compared', 'Digest of papers on agent memory', 'Weekly brief for {person}', 'Heat pumps in {city}'],
    tasks: [
      'Compare the open source vector search engines and recommend one.',
      'Read the new papers on agent memory and summarise each in five sentences.',
    ],
    openings: [
      'I need an overview of how other teams store the conversations of their agents. Two pages, with sources.',
      'Please collect what has been published on long-term memory for agents since January and tell me what is worth reading.',
      'Prepare the weekly brief: three topics, one paragraph each, nothing older than seven days.',
    ],
    requests: [
      'Which of these claims rest on more than one source?',
      'Drop the third one and go deeper into the second.',
      'Can you quantify that? A rough figure is enough.',
      'Put the result into a table with one line for each candidate.',
      'Who disagrees with this, and why?',
    ],
    answers: [
      'Of the {number} sources I read, four measure the same thing; they agree that recall falls once the context is compacted.',
      'The strongest argument is in the second paper: retrieval by recency alone answers {percent} % of the questions correctly.',
      'The candidates differ less in speed than in operation: two of them cannot be upgraded without rebuilding the index.',
      'I found no independent measurement for that claim. The figure comes from the vendor and its method is not described.',
    ],
    details: [
      'The full list of sources is in the appendix, newest first.',
      'Confidence is moderate: the sample is small and comes from one industry.',
      'A second reading by {person} would help, since two of the papers are outside my field.',
      'The trend holds for {city} as well, where prices rose by {percent} % in a year.',
    ],
    thoughts: [
      'Three of these pages copy the same press release. Count them as one source.',
      'The abstract promises more than the table shows. Quote the table.',
    ],
    tools: [
      {
        name: 'web_search',
        arguments: { query: 'long-term memory for language model agents evaluation', recency: 'year' },
        results: [
          '1. Measuring recall after compaction (2026)\n2. A survey of agent memory (2025)\n3. Why recency is a strong baseline (2026)',
          '1. {city} energy report\n2. Installations by month\n3. Interview with {person}',
        ],
        failure: 'The search service refused the request: too many requests.',
      },
      {
        name: 'web_fetch',
        arguments: { url: 'https://example.org/papers/{number}', format: 'markdown' },
        results: [
          '# Results\n\nRecall falls from 0.{percent} to 0.31 after the third compaction; recency keeps 0.29.',
          '# Notice\n\nThis page has moved.',
        ],
        failure: 'HTTP 503 Service Unavailable',
      },
    ],
  },
  {
    category: 'support',
    project: 'helpdesk',
    language: 'en',
    tags: ['customer', 'refund', 'shipping', 'vip'],
    labels: ['vip-order', 'lost-parcel', 'refund-case'],
    titles: ['Parcel to {city} is missing', 'Refund for order {number}', 'Login problem of {person}'],
    tasks: ['Answer the customer about order {number} and offer a replacement.'],
    openings: [
      'Hi! My parcel to {city} should have arrived on {day}. Order {number}. Where is it?',
      'I was charged twice for order {number}. Please give me one of the payments back 🙏',
      'I cannot log in any more, the code never arrives. My name is {person}.',
    ],
    requests: [
      'OK, and how long will that take?',
      'Can you send it to my office in {city} instead?',
      'Thank you! That was quick 😊',
      'I would rather have the money back.',
      'Is there a person I can talk to?',
    ],
    answers: [
      'I see your order {number}. The parcel left our warehouse and has been waiting at customs in {city} since {day}.',
      'You are right, the payment was booked twice. I have returned the second one; it takes up to {number} working days to show.',
      'I have sent a new code and turned off the old ones. It is valid for ten minutes.',
      'Of course. I have changed the address, and you will get a new tracking number within the hour.',
    ],
    details: [
      'Sorry for the trouble, {person}.',
      'As a small apology the next delivery is free.',
      'If nothing has changed by {day}, just answer here and I will send a replacement.',
      'The conversation stays open, so you need not explain it again.',
    ],
    thoughts: [
      'The customer is annoyed but friendly. Give the fact first, then the apology.',
      'Two bookings with one reference: a retry of the payment provider, not a second purchase.',
    ],
    tools: [
      {
        name: 'order_lookup',
        arguments: { order: '{number}', fields: 'status,tracking,payments' },
        results: ['{"status":"shipped","tracking":"held at customs","payments":1}', '{"status":"paid","tracking":null,"payments":2}'],
        failure: 'No order with this number.',
      },
      {
        name: 'send_message',
        arguments: { channel: 'email', template: 'apology', to: '{person}' },
        results: ['Queued as message {number}.'],
        failure: 'The address bounced twice; not sent.',
      },
    ],
  },
  {
    category: 'personal',
    project: 'assistant',
    language: 'en',
    tags: ['calendar', 'travel', 'home'],
    labels: ['trip-planning', 'morning-brief', 'groceries'],
    titles: ['Trip to {city} in spring', 'Morning brief', 'Dinner for six on {day}'],
    tasks: ['Plan a weekend in {city} for two, by train where possible.'],
    openings: [
      'Plan a weekend in {city} for the two of us: train there, a quiet hotel, one museum.',
      'What does my {day} look like? Keep it short ☀️',
      'We are six on {day}, two of them vegetarians. Suggest a menu and write the shopping list.',
    ],
    requests: [
      'Something cheaper, please.',
      'Move it to the week after.',
      'And what if it rains?',
      'Perfect, book it 🎉',
      'Remind me on {day}, one hour before.',
    ],
    answers: [
      'The direct train leaves at 9:14 and takes about {number} minutes; the way back on Sunday has one change.',
      'You have two appointments: the call with {person} and the dentist. Between them are three free hours.',
      'I suggest roasted squash, a risotto and a lemon tart. The list has {number} items; most of it is at the market.',
      'Done. The reservation is under your name and can be cancelled without cost until {day}.',
    ],
    details: [
      'The weather should be dry, 21 degrees in the afternoon.',
      'I kept the evening free, as you like it.',
      '{person} has been there and recommends the café by the river.',
    ],
    thoughts: [
      'They said quiet: leave out everything near the station.',
      'A budget was never mentioned; offer one cheap and one comfortable option.',
    ],
    tools: [
      {
        name: 'calendar_list',
        arguments: { from: '{day}', days: '1' },
        results: ['10:00 call with {person}\n14:30 dentist', 'Nothing planned.'],
        failure: 'The calendar is not connected.',
      },
      {
        name: 'weather',
        arguments: { city: '{city}', days: '3' },
        results: ['Dry, 19 °C, light wind', 'Showers, 12 °C ☔'],
        failure: 'No forecast for this place.',
      },
    ],
  },
];
