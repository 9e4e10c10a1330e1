import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** The root folder of the project, with a slash at the end. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A fenced block of a page. */
export interface CodeBlock {
  /** The word behind the opening fence, such as `graphql`; empty if there is none. */
  readonly language: string;
  readonly text: string;
  /** The file and the line of the opening fence, such as `docs/clients.md:12`, for test names. */
  readonly place: string;
}

/** README.md or a page of docs/. */
export interface Page {
  /** Relative to the root, such as `docs/clients.md`. */
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly CodeBlock[];
  /** Targets of the links outside code, as written. */
  readonly links: readonly string[];
  /** The fragments that GitHub gives to the headings, without `#`. */
  readonly anchors: ReadonlySet<string>;
}

/** Reads README.md and the pages of docs/. */
export async function readPages(): Promise<readonly Page[]> {
  const names = (await readdir(`${ROOT}docs`)).filter(name => name.endsWith('.md')).sort();
  const paths = ['README.md', ...names.map(name => `docs/${name}`)];
  return Promise.all(paths.map(async path => parsePage(path, await readFile(`${ROOT}${path}`, 'utf8'))));
}

function parsePage(path: string, text: string): Page {
  const blocks: CodeBlock[] = [];
  const prose: string[] = [];
  let fence: { readonly language: string; readonly place: string; readonly lines: string[] } | null = null;
  for (const [index, line] of text.split('\n').entries()) {
    const [, language] = /^ *```(\w*)/.exec(line) ?? [];
    if (language === undefined) (fence?.lines ?? prose).push(line);
    else if (fence === null) fence = { language, place: `${path}:${index + 1}`, lines: [] };
    else {
      blocks.push({ language: fence.language, place: fence.place, text: dedent(fence.lines) });
      fence = null;
    }
  }
  if (fence !== null) throw new Error(`The code block at ${fence.place} is not closed.`);
  const links = prose.flatMap(line => [...line.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target));
  const anchors = prose.flatMap(line => /^#+ (.+)$/.exec(line)?.[1] ?? []).map(anchorOf);
  return { path, text, blocks, links, anchors: new Set(anchors) };
}

/** Removes the indentation of a block that belongs to an item of a list. */
function dedent(lines: readonly string[]): string {
  const indents = lines.filter(line => line !== '').map(line => line.length - line.trimStart().length);
  const indent = Math.min(...indents);
  return lines.map(line => line.slice(indent)).join('\n');
}

function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(' ', '-');
}
