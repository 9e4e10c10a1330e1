import { builder } from '../../graphql/builder.ts';

type Context = Readonly<Record<string, unknown>>;

export const SessionOrigin = builder.objectRef<Context>('SessionOrigin').implement({
  description: 'Where a session came from, in the terms of that system.',
  fields: t => {
    const text = (name: string, description?: string) =>
      t.string({ nullable: true, description, resolve: origin => textOrNull(origin[name]) });
    return {
      label: text('label'),
      provider: text('provider', 'The messenger, e.g. `telegram`.'),
      surface: text('surface', 'The part of the messenger.'),
      chatType: text('chatType', '`direct`, `group` or `channel`.'),
      from: text('from', 'The sender.'),
      to: text('to', 'The recipient.'),
      accountId: text('accountId', 'The account in the messenger that received the message.'),
      threadId: text('threadId'),
    };
  },
});

export const DeliveryContext = builder.objectRef<Context>('DeliveryContext').implement({
  description: 'Where replies are sent.',
  fields: t => {
    const text = (name: string, description?: string) =>
      t.string({ nullable: true, description, resolve: delivery => textOrNull(delivery[name]) });
    return {
      channel: text('channel', 'The messenger.'),
      to: text('to', 'The recipient, by its id in the messenger.'),
      accountId: text('accountId', 'The account in the messenger that sends the replies.'),
      threadId: text('threadId'),
    };
  },
});

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
