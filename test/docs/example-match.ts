/**
 * Compares a response with an example. In the example, `"…"` matches any value, a text that ends with `…` matches every text with that
 * start, and `"…"` as the last element of a list matches any number of elements. Returns the differences, each with its path.
 */
export function differences(actual: unknown, example: unknown, path = 'response'): readonly string[] {
  if (typeof example === 'string' && example.endsWith('…')) {
    // A text may end with the character itself.
    const isMatch = actual === example || example === '…' || (typeof actual === 'string' && actual.startsWith(example.slice(0, -1)));
    return isMatch ? [] : [`${path}: ${JSON.stringify(actual)} does not match ${JSON.stringify(example)}`];
  }
  if (Array.isArray(example) && Array.isArray(actual)) {
    const isOpen = example.at(-1) === '…';
    const elements = isOpen ? example.slice(0, -1) : example;
    if (isOpen ? actual.length < elements.length : actual.length !== elements.length) {
      return [`${path}: ${actual.length} elements, the example has ${elements.length}`];
    }
    return elements.flatMap((element, index) => differences(actual[index], element, `${path}[${index}]`));
  }
  if (isObject(example) && isObject(actual)) {
    const names = new Set([...Object.keys(example), ...Object.keys(actual)]);
    return [...names].flatMap(name => differences(actual[name], example[name], `${path}.${name}`));
  }
  return Object.is(actual, example) ? [] : [`${path}: ${JSON.stringify(actual)} is not ${JSON.stringify(example)}`];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
