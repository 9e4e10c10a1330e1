/** The names for each `{slot}` of a topic's texts. `{number}`, `{percent}` and `{ticket}` are not listed: they become random numbers. */
export const SLOTS: Readonly<Record<string, readonly [string, ...string[]]>> = {
  service: ['billing', 'checkout', 'gateway', 'indexer', 'mailer', 'notifier', 'scheduler', 'search', 'session-store', 'webhooks'],
  file: [
    'src/app.ts',
    'src/cache/lease.ts',
    'src/http/retry.ts',
    'src/jobs/queue.ts',
    'src/store/cursor.ts',
    'lib/parser.py',
    'cmd/worker/main.go',
  ],
  person: ['Amara', 'Björn', 'Chloé', 'Dmitri', 'Eszter', 'Farid', 'Grace', 'Hiroshi', 'Inês', 'Jamal', 'Lin', 'Olga'],
  city: ['Berlin', 'Lisbon', 'Nairobi', 'Osaka', 'Porto', 'Tallinn', 'Toronto', 'Wellington'],
  day: ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday'],
  branch: ['fix/retry-budget', 'feat/keyset-paging', 'chore/bump-node', 'fix/utf8-names', 'feat/live-updates'],
  table: ['orders', 'invoices', 'sessions', 'messages', 'shipments', 'accounts'],
};

/** Words that occur in few messages: a search for one of them has a short result. */
export const RARE_WORDS: readonly [string, ...string[]] = [
  'axolotl',
  'bergamot',
  'chrysalis',
  'dirigible',
  'ephemeris',
  'filigree',
  'gossamer',
  'heliotrope',
  'isinglass',
  'jacaranda',
  'kumquat',
  'labradorite',
  'marzipan',
  'narwhal',
  'obsidian',
  'palimpsest',
  'quokka',
  'rhododendron',
  'sassafras',
  'tourmaline',
];
