import { describe, expect, it } from 'vitest';
import { excerptHtml, headlineHtml, MATCH_START, MATCH_STOP } from '../../../../src/modules/search/search.rules.ts';

const uncut = { before: false, after: false };

describe('excerptHtml', () => {
  it('marks every occurrence and keeps the case of the text', () => {
    expect(excerptHtml('Bread, BREAD and breadth', 'bread', uncut)).toBe('<mark>Bread</mark>, <mark>BREAD</mark> and <mark>bread</mark>th');
  });

  it('marks the right place after letters that become longer in lower case', () => {
    expect(excerptHtml('İİİ bread', 'Bread', uncut)).toBe('İİİ <mark>bread</mark>');
  });

  it('matches a final sigma with any sigma', () => {
    expect(excerptHtml('Η ΟΔΟΣ', 'οδος', uncut)).toBe('Η <mark>ΟΔΟΣ</mark>');
  });

  it('escapes HTML in the text and in the matches', () => {
    expect(excerptHtml('a <b> & "c"', '<B>', uncut)).toBe('a <mark>&lt;b&gt;</mark> &amp; &quot;c&quot;');
  });

  it('adds an ellipsis where the text was cut off', () => {
    expect(excerptHtml('x', 'y', { before: true, after: true })).toBe('…x…');
  });
});

describe('headlineHtml', () => {
  const hit = (word: string) => `${MATCH_START}${word}${MATCH_STOP}`;
  const headAndTail = (text: string) => ({ head: text, tail: text });

  it('escapes the text and converts the markers to mark elements', () => {
    expect(headlineHtml(`a & ${hit('hit')}`, headAndTail('a & hit'))).toBe('a &amp; <mark>hit</mark>');
  });

  it('adds an ellipsis at each end where the text was cut off', () => {
    expect(headlineHtml(`the ${hit('hit')} here`, headAndTail('by the hit here'))).toBe('…the <mark>hit</mark> here');
    expect(headlineHtml(`the ${hit('hit')} here`, headAndTail('the hit here, too'))).toBe('the <mark>hit</mark> here…');
    expect(headlineHtml(`${hit('hit')} one … two ${hit('hit')}`, headAndTail('a hit one, and two hits'))).toBe(
      '…<mark>hit</mark> one … two <mark>hit</mark>…',
    );
    expect(headlineHtml(hit('hit'), headAndTail('hits and hit'))).toBe('…<mark>hit</mark>');
  });

  it('adds both ellipses for a text that repeats itself', () => {
    const text = { head: 'again and again and aga', tail: 'ain and again and again' };
    expect(headlineHtml(`again and ${hit('hit')} and again`, text)).toBe('…again and <mark>hit</mark> and again…');
  });

  it('adds no ellipsis if only tags, punctuation or white space were cut off', () => {
    expect(headlineHtml(`the ${hit('hit')}`, headAndTail(' <p class="x">"the hit"!</p>'))).toBe('the <mark>hit</mark>');
    expect(headlineHtml(`${hit('one')} of  two`, headAndTail('<b>one</b> of <i>two</i>.'))).toBe('<mark>one</mark> of  two');
  });
});
