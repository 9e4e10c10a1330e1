import { type ExecutionResult, GraphQLError } from 'graphql';
import type { Plugin, YogaInitialContext } from 'graphql-yoga';
import { EndableGenerator, wrapAsyncIterator } from '../../../async-iterator.ts';
import { DomainError } from '../../../errors.ts';
import { LOCAL_VIEWER } from '../../../modules/viewer/viewer.rules.ts';
import type { TransportContext } from './use-execution.ts';

/** Maximum open event streams of one key or token over HTTP. Each one occupies a connection. */
const MAX_STREAMS = 1_000;

/**
 * Limits the open event streams of a caller over HTTP; beyond the limit, subscriptions are RATE_LIMIT_EXCEEDED. While authentication is off,
 * there is no limit. The WebSocket transport limits connections itself. It must come after all plugins that reject operations.
 */
export function useStreamLimit({ maxStreams = MAX_STREAMS }: { maxStreams?: number } = {}): Plugin<TransportContext> {
  /** Open streams by viewer id. Viewers without open streams have no entry. */
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
      const openStreams = open.get(id) ?? 0;
      if (openStreams >= maxStreams) {
        const failure = new DomainError('RATE_LIMIT_EXCEEDED', `At most ${maxStreams} event streams may be open at the same time.`, {
          limit: 'streams',
          max: maxStreams,
        });
        setResultAndStopExecution({ errors: [new GraphQLError(failure.message, { originalError: failure })] });
        return undefined;
      }
      open.set(id, openStreams + 1);
      let isOpen = true;
      const release = () => {
        if (isOpen) close(id);
        isOpen = false;
      };
      return {
        onSubscribeResult({ result, setResult }) {
          if (!(Symbol.asyncIterator in result)) return release();
          const stream = result[Symbol.asyncIterator]();
          setResult(
            wrapAsyncIterator<ExecutionResult>(stream, {
              next: () => stream.next(),
              takeNow: () => (stream instanceof EndableGenerator ? stream.takeNow() : null),
              onEnd: release,
            }),
          );
        },
      };
    },
  };
}
