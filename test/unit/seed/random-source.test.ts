import { describe, expect, it } from 'vitest';
import { createRandomSource } from '../../../scripts/seed/random-source.ts';

function fractions(seed: number, stream: number): number[] {
  const random = createRandomSource(seed, stream);
  return Array.from({ length: 1_000 }, () => random.fraction());
}

describe('createRandomSource', () => {
  it('gives the same numbers for the same seed and stream, and other numbers otherwise', () => {
    expect(fractions(1, 0)).toEqual(fractions(1, 0));
    expect(fractions(1, 0)).not.toEqual(fractions(1, 1));
    expect(fractions(1, 0)).not.toEqual(fractions(0, 1));
  });

  it('spreads numbers evenly, including the first numbers of neighbouring streams', () => {
    const firsts = Array.from({ length: 2_000 }, (_, stream) => createRandomSource(7, stream).fraction());
    for (const numbers of [fractions(3, 4), firsts]) {
      expect(numbers.every(number => number >= 0 && number < 1)).toBe(true);
      expect(numbers.reduce((sum, number) => sum + number, 0) / numbers.length).toBeCloseTo(0.5, 1);
    }
  });

  it('gives whole numbers between both bounds, including them', () => {
    const random = createRandomSource(1, 1);
    expect(new Set(Array.from({ length: 200 }, () => random.integer(-1, 2)))).toEqual(new Set([-1, 0, 1, 2]));
  });

  it('draws by weight, and never a choice of weight 0', () => {
    const random = createRandomSource(1, 2);
    const drawn = Array.from({ length: 1_000 }, () =>
      random.weighted([
        ['often', 3],
        ['never', 0],
        ['seldom', 1],
      ]),
    );
    expect(drawn).not.toContain('never');
    expect(drawn.filter(choice => choice === 'often').length).toBeGreaterThan(650);
    expect(drawn).toContain('seldom');
  });
});
