import { describe, expect, it } from 'vitest';
import { insertEvents } from '../../../src/events/event-write.ts';

describe('insertEvents', () => {
  it('accepts only known types with the payload of the type', () => {
    const { values } = insertEvents('s', 'main', [{ type: 'UPDATED', payload: { changed: ['title'] } }]);
    expect(values).toEqual(['s', 'main', ['UPDATED'], ['{"changed":["title"]}']]);
    // @ts-expect-error: this payload lacks `changed`.
    insertEvents('s', 'main', [{ type: 'UPDATED', payload: {} }]);
    // @ts-expect-error: no version writes this type.
    insertEvents('s', 'main', [{ type: 'RENAMED', payload: {} }]);
  });
});
