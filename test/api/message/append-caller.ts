import { readConfig } from '../../../src/config.ts';
import type { Caller } from '../../../src/modules/caller.ts';
import { CallsInFlight } from '../../../src/modules/idempotency/calls-in-flight.service.ts';
import { createAppendQueue } from '../../../src/modules/message/append-queue.service.ts';
import { LOCAL_VIEWER, type Viewer } from '../../../src/modules/viewer/viewer.rules.ts';
import type { TestApp } from '../../support/app.ts';

const REQUEST_TIMEOUT_MS = 60_000;

/** A caller of the services whose appends in one turn of the event loop form one batch. */
export function batchingCaller({ app: { database, events } }: TestApp, viewer: Viewer = LOCAL_VIEWER): Caller {
  return {
    viewer,
    database,
    models: database.models,
    settings: readConfig({}).sessions,
    eventsWritten: () => events.wake(),
    callsInFlight: new CallsInFlight(),
    appendQueue: createAppendQueue(database, REQUEST_TIMEOUT_MS),
  };
}
