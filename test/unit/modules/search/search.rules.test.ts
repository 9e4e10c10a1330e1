import { describe, expect, it } from 'vitest';
import { excerptHtml, headlineHtml, MATCH_START, MATCH_STOP } from '../../../../src/modules/search/search.rules.ts';

const whole = { before: false, after: false };

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
    expect(excerptHtml('x', 'y', { before: true, after: true })).toBe('…x…');
  });
});

describe('headlineHtml', () => {
  const hit = (word: string) => `${MATCH_START}${word}${MATCH_STOP}`;
  const whole = (text: string) => ({ head: text, tail: text });

  it('escapes the text and turns the marks into elements', () => {
    expect(headlineHtml(`a & ${hit('hit')}`, whole('a & hit'))).toBe('a &amp; <mark>hit</mark>');
  });

  it('shows at either end where it was cut off', () => {
    expect(headlineHtml(`the ${hit('hit')} here`, whole('by the hit here'))).toBe('…the <mark>hit</mark> here');
    expect(headlineHtml(`the ${hit('hit')} here`, whole('the hit here, too'))).toBe('the <mark>hit</mark> here…');
    expect(headlineHtml(`${hit('hit')} one … two ${hit('hit')}`, whole('a hit one, and two hits'))).toBe(
      '…<mark>hit</mark> one … two <mark>hit</mark>…',
    );
    expect(headlineHtml(hit('hit'), whole('hits and hit'))).toBe('…<mark>hit</mark>');
  });

  it('is not misled by a text that repeats itself', () => {
    const text = { head: 'again and again and aga', tail: 'ain and again and again' };
    expect(headlineHtml(`again and ${hit('hit')} and again`, text)).toBe('…again and <mark>hit</mark> and again…');
  });

  it('takes what is no word, and tags, for nothing that was cut off', () => {
    expect(headlineHtml(`the ${hit('hit')}`, whole(' <p class="x">"the hit"!</p>'))).toBe('the <mark>hit</mark>');
    expect(headlineHtml(`${hit('one')} of  two`, whole('<b>one</b> of <i>two</i>.'))).toBe('<mark>one</mark> of  two');
  });
});
