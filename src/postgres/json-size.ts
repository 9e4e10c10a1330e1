/** The approximate size of a number, a date, a boolean or null. */
export const PLAIN_BYTES = 8;

/** Quotes, commas, colons and braces. */
export const PUNCTUATION_BYTES = 4;

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function measure(value: unknown, enough: number, sizeOfText: (text: string) => number): number {
  if (typeof value === 'string') return sizeOfText(value);
  if (!isRecord(value)) return PLAIN_BYTES;
  let size = PUNCTUATION_BYTES;
  if (Array.isArray(value)) {
    for (const item of value) {
      size += measure(item, enough - size, sizeOfText);
      if (size > enough) break;
    }
    return size;
  }
  for (const key of Object.keys(value)) {
    size += key.length + PUNCTUATION_BYTES + measure(value[key], enough - size, sizeOfText);
    if (size > enough) break;
  }
  return size;
}

/**
 * The approximate size of a value as JSON: the characters of its texts and keys, and a little for the rest. Text beyond ASCII and escaped
 * text take up to six times as many bytes.
 * @param enough a value that is larger is not measured to its end
 */
export function estimatedJsonSize(value: unknown, enough = Number.POSITIVE_INFINITY): number {
  return measure(value, enough, text => text.length + PUNCTUATION_BYTES);
}

/** The bytes of a value as JSON, exact for its texts and their escapes. Takes about as long as to serialize it. @param enough as of `estimatedJsonSize` */
export function exactJsonSize(value: unknown, enough: number): number {
  return measure(value, enough, text => Buffer.byteLength(JSON.stringify(text)));
}
