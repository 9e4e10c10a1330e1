import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StoredEvent } from '../../../../src/events/stored-event.ts';
import { isInScope, type ListScope } from '../../../../src/modules/session-list/session-list.rules.ts';
import { WatchIndex } from '../../../../src/modules/session-list/watch-index.ts';

/** A watch that notes the events it needs, and is done with the first one if `takesOne`. */
class NotingWatch {
  readonly scope: ListScope;
  readonly seen: bigint[] = [];
  readonly #takesOne: boolean;
  /** How many events it had to look at. */
  looks = 0;

  constructor(scope: ListScope, takesOne: boolean) {
    this.scope = scope;
    this.#takesOne = takesOne;
  }

  notice(event: StoredEvent): boolean {
    this.looks += 1;
    if (!isInScope(this.scope, event)) return false;
    this.seen.push(event.seq);
    return this.#takesOne;
  }
}

const eventOf = (seq: number, sessionId: string, agentId: string): StoredEvent => ({
  ...{ seq: BigInt(seq), id: BigInt(seq), occurredAt: new Date(0), sessionId, agentId },
  type: 'RESTORED',
  payload: {},
});

const sessionId = fc.constantFrom('s1', 's2', 's3', 's4', 's5');
const agentId = fc.constantFrom('a', 'b', 'c');
const namesOf = (name: fc.Arbitrary<string>) => fc.option(fc.uniqueArray(name, { maxLength: 3 }).map(names => new Set(names)));
const watchSettings = fc.record({ sessions: namesOf(sessionId), agents: namesOf(agentId), takesOne: fc.boolean() });
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ sessionId, agentId }) },
    { weight: 1, arbitrary: fc.record({ removed: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ added: fc.nat(9) }) },
  ),
  { maxLength: 60 },
);

describe('WatchIndex', () => {
  it('passes events on to the same watches as a scan of all watches', () => {
    fc.assert(
      fc.property(fc.array(watchSettings, { maxLength: 10 }), steps, (settings, sequence) => {
        const make = () => settings.map(({ takesOne, ...scope }) => new NotingWatch(scope, takesOne));
        const indexed = make();
        const scanned = make();
        const index = new WatchIndex<NotingWatch>();
        for (const watch of indexed) index.add(watch);
        const waiting = new Set(scanned);
        for (const [seq, step] of sequence.entries()) {
          if ('sessionId' in step) {
            const event = eventOf(seq, step.sessionId, step.agentId);
            index.notify(event);
            for (const watch of waiting) if (watch.notice(event)) waiting.delete(watch);
          } else {
            const place = 'added' in step ? step.added : step.removed;
            const [one, other] = [indexed[place], scanned[place]];
            if (one === undefined || other === undefined) continue;
            if ('added' in step) {
              index.add(one);
              waiting.add(other);
            } else {
              index.remove(one);
              waiting.delete(other);
            }
          }
        }
        expect(indexed.map(({ seen }) => seen)).toEqual(scanned.map(({ seen }) => seen));
      }),
    );
  });

  it('asks only the watches that name the session or its agent, or neither', () => {
    const index = new WatchIndex<NotingWatch>();
    const watchOf = (sessions: string[] | null, agents: string[] | null) => {
      const watch = new NotingWatch({ sessions: sessions && new Set(sessions), agents: agents && new Set(agents) }, false);
      index.add(watch);
      return watch;
    };
    const concerned = [watchOf(['s1'], null), watchOf(['s1', 's2'], ['a']), watchOf(null, ['a']), watchOf(null, null)];
    const others = Array.from({ length: 100 }, (_, number) =>
      number % 2 === 0 ? watchOf([`s1-${number}`], ['a']) : watchOf(null, [`a-${number}`]),
    );
    index.notify(eventOf(1, 's1', 'a'));
    expect(concerned.map(({ looks }) => looks)).toEqual([1, 1, 1, 1]);
    expect(others.reduce((sum, { looks }) => sum + looks, 0)).toBe(0);
  });
});
