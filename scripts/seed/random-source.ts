/** A stream of random numbers. The same seed gives the same numbers on every machine. */
export interface RandomSource {
  /** A number from 0 (included) to 1 (excluded). */
  fraction(): number;
  /** A whole number from `lowest` to `highest`, both included. */
  integer(lowest: number, highest: number): number;
  /** True with this probability, from 0 to 1. */
  chance(probability: number): boolean;
  /** One of `choices`, all equally likely. */
  pick<T>(choices: readonly [T, ...T[]]): T;
  /** One of `choices`, with a probability in proportion to its weight. */
  weighted<T>(choices: readonly [Weighted<T>, ...Weighted<T>[]]): T;
}

/** A choice and its weight relative to the other choices. */
type Weighted<T> = readonly [choice: T, weight: number];

/**
 * Creates a random source (the sfc32 algorithm). Each pair of seed and stream gives different numbers.
 * @param seed a whole number
 * @param stream a whole number, for several independent streams with one seed
 */
export function createRandomSource(seed: number, stream: number): RandomSource {
  let a = seed | 0;
  let b = stream | 0;
  let c = 0x9e3779b9;
  let counter = 1;

  const word = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  // Neighbouring seeds differ in a few bits only: these rounds spread the difference over the whole state.
  for (let round = 0; round < 15; round += 1) word();

  const fraction = () => word() / 0x1_0000_0000;
  return {
    fraction,
    integer: (lowest, highest) => lowest + Math.floor(fraction() * (highest - lowest + 1)),
    chance: probability => fraction() < probability,
    pick: choices => choices[Math.floor(fraction() * choices.length)] ?? choices[0],
    weighted: choices => {
      let rest = fraction() * choices.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [choice, weight] of choices) {
        rest -= weight;
        if (rest < 0) return choice;
      }
      return choices[0][0];
    },
  };
}
