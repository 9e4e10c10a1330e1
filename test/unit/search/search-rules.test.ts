import { describe, expect, it } from 'vitest';
import { excerptHtml, headlineHtml, MATCH_START, MATCH_STOP } from '../../../src/modules/search/search.rules.ts';

const whole = { before: false, behind: false };

describe('excerptHtml', () => {
  it('marks every occurrence, in the letters of the text', () => {
    expect(excerptHtml('Bread, BREAD and breadth', 'bread', whole)).toBe('<mark>Bread</mark>, <mark>BREAD</mark> and <mark>bread</mark>th');
  });

  it('finds its place behind letters that grow when they are folded', () => {
    expect(excerptHtml('İİİ bread', 'Bread', whole)).toBe('İİİ <mark>bread</mark>');
  });

  it('takes the final sigma for a sigma', () => {
    expect(excerptHtml('Η ΟΔΟΣ', 'οδος', whole)).toBe('Η <mark>ΟΔΟΣ</mark>');
  });

  it('escapes text and hits alike', () => {
    expect(excerptHtml('a <b> & "c"', '<B>', whole)).toBe('a <mark>&lt;b&gt;</mark> &amp; &quot;c&quot;');
  });

  it('shows where it was cut off', () => {
    expect(excerptHtml('x', 'y', { before: true, behind: true })).toBe('…x…');
  });
});

describe('headlineHtml', () => {
  it('escapes the text and turns the marks into elements', () => {
    expect(headlineHtml(`<i> ${MATCH_START}hit${MATCH_STOP}`)).toBe('&lt;i&gt; <mark>hit</mark>');
  });
});
