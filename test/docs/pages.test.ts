import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { assertEnumType } from 'graphql';
import { beforeAll, describe, expect, it } from 'vitest';
import { renderErrorPage } from '../../scripts/error-page.ts';
import { SessionStatus } from '../../src/generated/prisma/enums.ts';
import { rateClassOf } from '../../src/modules/rate-limit/rate-limit.rules.ts';
import { transitionsFrom } from '../../src/modules/session/session.rules.ts';
import { createSchema } from '../../src/schema.ts';
import { type Page, ROOT, readPages } from './markdown.ts';

const MOST_LINES = 300;

let pages: readonly Page[];
beforeAll(async () => {
  pages = await readPages();
});

/** The files that the links of a page lead to, relative to the root, with the fragment behind `#`. */
function targetsOf({ path, links }: Page): { readonly file: string; readonly fragment: string | undefined }[] {
  return links
    .filter(link => !/^\w+:/.test(link))
    .map(link => {
      const [target = '', fragment] = link.split('#');
      return { file: target === '' ? path : normalize(join(dirname(path), target)), fragment };
    });
}

describe('README.md and docs/', () => {
  it(`keep README.md within ${MOST_LINES} lines`, () => {
    expect(pages[0]?.text.trimEnd().split('\n').length).toBeLessThanOrEqual(MOST_LINES);
  });

  it('have no broken links', () => {
    const broken = pages.flatMap(page =>
      targetsOf(page).filter(({ file, fragment }) => {
        if (!existsSync(join(ROOT, file))) return true;
        return fragment !== undefined && !pages.find(({ path }) => path === file)?.anchors.has(fragment);
      }),
    );
    expect(broken).toEqual([]);
  });

  it('link to every page and every example', async () => {
    const linked = new Set(pages.flatMap(page => targetsOf(page).map(({ file }) => file)));
    const examples = (await readdir(join(ROOT, 'docs/examples'))).map(name => `docs/examples/${name}`);
    const expected = [...pages.map(({ path }) => path).filter(path => path !== 'README.md'), ...examples];
    expect(expected.filter(path => !linked.has(path))).toEqual([]);
  });
});

/** The rows of the table that follows a heading of a page, without the two lines of its head; each row by its cells. */
function tableAfter(path: string, heading: string): readonly (readonly string[])[] {
  const text = pages.find(page => page.path === path)?.text ?? '';
  const [, section = ''] = text.split(`${heading}\n`);
  const [table = ''] = /(?:^\|.*\n)+/m.exec(section) ?? [];
  const lines = table.trimEnd().split('\n');
  return lines.slice(2).map(line => line.split(' | ').map(cell => cell.replace(/^\| |\s*\|$/g, '')));
}

describe('the table of status transitions in README.md', () => {
  it('has the transitions of the server, without those to TERMINATED, which no operation of the API makes', () => {
    const documented = tableAfter('README.md', '### Status').map(([status = '', , next = '']) => [
      status,
      next === '–' ? [] : next.split(', '),
    ]);
    const statuses = Object.values(SessionStatus);
    const actual = statuses.map(status => [status, transitionsFrom(status).filter(next => next !== 'TERMINATED')]);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(actual));
  });
});

describe('docs/errors.md', () => {
  it('is what npm run print-schema writes', () => {
    expect(pages.find(({ path }) => path === 'docs/errors.md')?.text).toBe(renderErrorPage());
  });

  it('has every code of the enum ErrorCode, in its order', () => {
    const codes = tableAfter('docs/errors.md', '# Errors').map(([code]) => code);
    expect(codes).toEqual(
      assertEnumType(createSchema().getType('ErrorCode'))
        .getValues()
        .map(({ name }) => name),
    );
  });
});

describe('the tables of mutations', () => {
  const schema = createSchema();
  const mutations = Object.values(schema.getMutationType()?.getFields() ?? {});

  it('in docs/authentication.md have the scope of each mutation', () => {
    const documented = tableAfter('docs/authentication.md', '## Scopes').flatMap(([scope = '', allowed = '']) =>
      // deleteSession is in two rows: the plain form needs the lower scope.
      [...allowed.replaceAll('`deleteSession` with', '').matchAll(/`(\w+)`/g)].map(([, name]) => [name, scope.replaceAll('`', '')]),
    );
    const scopes = mutations.map(({ name, extensions }) => [name, extensions.scope]);
    expect(Object.fromEntries(documented)).toMatchObject(Object.fromEntries(scopes));
  });

  it('in docs/clients.md have the rate limit of each mutation', () => {
    const rows = tableAfter('docs/clients.md', '## Rate limits');
    const documented = rows.flatMap(([limit = '', fields = '']) =>
      [...fields.matchAll(/`(\w+)`/g)].map(([, name]) => [name, limit.replaceAll('`', '')]),
    );
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(mutations.map(({ name }) => [name, rateClassOf(name)])));
  });
});
