import { sessionGlobalId } from '../../global-id.ts';
import { builder } from '../../graphql/builder.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import { Session } from '../session/session.schema.ts';
import { createSession } from './session-create.service.ts';
import {
  CreateSessionInputType,
  DeleteSessionInputType,
  EndSessionInputType,
  RestoreSessionInputType,
  UpdateSessionInputType,
} from './session-input.schema.ts';
import { deleteSession, restoreSession } from './session-trash.service.ts';
import { endSession, updateSession } from './session-update.service.ts';
import { type Written, writtenSession } from './written-session.schema.ts';

const CreateSessionPayload = builder.objectRef<Written & { readonly created: boolean }>('CreateSessionPayload').implement({
  description: 'The session that was created or found.',
  fields: t => ({
    session: t.field({ type: Session, resolve: (payload, _args, context, info) => writtenSession(payload, context, info) }),
    created: t.boolean({
      description: 'False if the session was found, because of `ifExists: RETURN` or the idempotency key.',
      resolve: payload => payload.created,
    }),
  }),
});

/** The payload of a mutation that returns only the changed session. Each mutation has its own type, so that it can get fields of its own. */
function sessionPayload(name: string) {
  return builder.objectRef<Written>(name).implement({
    description: 'The session after the change.',
    fields: t => ({
      session: t.field({ type: Session, resolve: (payload, _args, context, info) => writtenSession(payload, context, info) }),
    }),
  });
}

const DeleteSessionPayload = builder.objectRef<Written & { readonly permanent: boolean }>('DeleteSessionPayload').implement({
  description: 'The session that was deleted.',
  fields: t => ({
    deletedId: t.id({ description: 'Global id of the session.', resolve: payload => sessionGlobalId(payload.sessionId) }),
    session: t.field({
      type: Session,
      nullable: true,
      description: 'The session in the trash. Null if it was removed for good.',
      resolve: (payload, _args, context, info) =>
        payload.permanent ? null : context.load.sessions.byId(payload.sessionId, columnGroups(info, [[]])),
    }),
  }),
});

builder.mutationFields(t => ({
  createSession: t.field({
    type: CreateSessionPayload,
    description: 'Creates a session. With `ifExists: RETURN`, returns the session that already has the key, if there is one.',
    args: { input: t.arg({ type: CreateSessionInputType, required: true }) },
    extensions: { scope: 'WRITE' },
    resolve: async (_root, { input }, context) => {
      const { id, created } = await createSession(context.caller, input);
      return { sessionId: id, created };
    },
  }),
  updateSession: t.field({
    type: sessionPayload('UpdateSessionPayload'),
    description: 'Changes the given fields of a session, all or nothing.',
    args: { input: t.arg({ type: UpdateSessionInputType, required: true }) },
    extensions: { scope: 'WRITE' },
    resolve: async (_root, { input }, context) => ({ sessionId: await updateSession(context.caller, input) }),
  }),
  endSession: t.field({
    type: sessionPayload('EndSessionPayload'),
    description: 'Ends a session. It then accepts no more messages.',
    args: { input: t.arg({ type: EndSessionInputType, required: true }) },
    extensions: { scope: 'WRITE' },
    resolve: async (_root, { input }, context) => ({ sessionId: await endSession(context.caller, input) }),
  }),
  deleteSession: t.field({
    type: DeleteSessionPayload,
    description: 'Moves a session to the trash, from where it can be restored until it is purged. With `permanent`, removes it for good.',
    args: { input: t.arg({ type: DeleteSessionInputType, required: true }) },
    extensions: { scope: 'MANAGE' },
    resolve: async (_root, { input }, context) => {
      const { id, permanent } = await deleteSession(context.caller, input);
      return { sessionId: id, permanent };
    },
  }),
  restoreSession: t.field({
    type: sessionPayload('RestoreSessionPayload'),
    description: 'Restores a session from the trash. A session that is not in the trash stays unchanged.',
    args: { input: t.arg({ type: RestoreSessionInputType, required: true }) },
    extensions: { scope: 'MANAGE' },
    resolve: async (_root, { input }, context) => ({ sessionId: await restoreSession(context.caller, input) }),
  }),
}));
