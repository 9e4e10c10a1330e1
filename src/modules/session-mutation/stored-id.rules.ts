import type { Caller } from '../caller.ts';

/** Stores and restores the result of a mutation that returns a session's UUID: `executeOnce(caller, { field, run, ...STORED_ID }, input)`. */
export const STORED_ID = {
  toStored: (id: string) => ({ sessionId: id }),
  replay: (_caller: Caller, { sessionId }: { readonly sessionId: string }) => sessionId,
};
