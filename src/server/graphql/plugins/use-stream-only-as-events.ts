import { GraphQLError } from 'graphql';
import type { Plugin, YogaInitialContext } from 'graphql-yoga';
import { DomainError } from '../../../errors.ts';

const STREAMABLE = /text\/event-stream|text\/\*|\*\/\*/i;

/** Rejects a subscription over HTTP whose client does not accept event streams, with an explanation. Yoga would answer 406 without a body. */
export function useStreamOnlyAsEvents(): Plugin {
  return {
    onSubscribe({ args, setResultAndStopExecution }) {
      const { request }: Partial<YogaInitialContext> = args.contextValue;
      if (request === undefined || STREAMABLE.test(request.headers.get('accept') ?? '*/*')) return;
      const failure = new DomainError('BAD_USER_INPUT', 'A subscription needs "accept: text/event-stream", or a WebSocket.', {
        header: 'accept',
      });
      const error = new GraphQLError(failure.message, { originalError: failure, extensions: { http: { status: 406 } } });
      setResultAndStopExecution({ errors: [error] });
    },
  };
}
