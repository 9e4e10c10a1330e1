import { GraphQLError } from 'graphql';
import type { Plugin, YogaInitialContext } from 'graphql-yoga';
import { wrapAsyncIterator } from '../../../async-iterator.ts';
import { DomainError } from '../../../errors.ts';
import { LOCAL_VIEWER } from '../../../modules/viewer/viewer.rules.ts';
import type { TransportContext } from './use-execution.ts';

/** Streams of events one key or token may have open over HTTP; each holds a connection, as a WebSocket does for many. */
const MAX_STREAMS = 1_000;

/**
 * RATE_LIMIT_EXCEEDED for one more stream of events over HTTP than a caller may have open at once; where authentication is off, as many as
 * one likes. WebSockets are counted by src/server/ws.ts. To come after all that refuses operations.
 */
export function useStreamLimit({ maxStreams = MAX_STREAMS }: { maxStreams?: number } = {}): Plugin<TransportContext> {
  /** By the viewer's id; none of those who have none open. */
  const open = new Map<string, number>();

  function close(viewerId: string): void {
    const left = (open.get(viewerId) ?? 1) - 1;
    if (left === 0) open.delete(viewerId);
    else open.set(viewerId, left);
  }

  return {
    onSubscribe({ args, setResultAndStopExecution }) {
      const { request, origin }: Partial<YogaInitialContext> & TransportContext = args.contextValue;
      const { id } = origin.access.viewer;
      if (request === undefined || id === LOCAL_VIEWER.id) return undefined;
      const others = open.get(id) ?? 0;
      if (others >= maxStreams) {
        const failure = new DomainError('RATE_LIMIT_EXCEEDED', `At most ${maxStreams} streams of events may be open at once.`, {
          limit: 'streams',
          max: maxStreams,
        });
        setResultAndStopExecution({ errors: [new GraphQLError(failure.message, { originalError: failure })] });
        return undefined;
      }
      open.set(id, others + 1);
      let isOpen = true;
      const isOver = () => {
        if (isOpen) close(id);
        isOpen = false;
      };
      return {
        onSubscribeResult({ result, setResult }) {
          if (!(Symbol.asyncIterator in result)) return isOver();
          const stream = result[Symbol.asyncIterator]();
          setResult(wrapAsyncIterator(stream, { next: () => stream.next(), onEnd: isOver }));
        },
      };
    },
  };
}
