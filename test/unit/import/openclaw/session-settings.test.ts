import { describe, expect, it } from 'vitest';
import { readSettings } from '../../../../src/import/openclaw/session-settings.ts';

describe('readSettings', () => {
  it.each([
    ['thinkingLevel', 'OFF', 'off'],
    ['thinkingLevel', 'Think-Hard', 'low'],
    ['thinkingLevel', 'extra high', 'xhigh'],
    ['verboseLevel', false, 'off'],
    ['verboseLevel', 'everything', 'full'],
    ['reasoningLevel', 'draft', 'stream'],
    ['elevatedLevel', 'off', 'off'],
    ['elevatedLevel', 'approval', 'ask'],
    ['responseUsage', 'on', 'tokens'],
    ['ttsAuto', 'Tagged', 'tagged'],
    ['execNode', ' mac ', 'mac'],
    ['queueMode', 'steer+backlog', 'steer+backlog'],
    ['queueCap', 20, 20],
  ])('reads %s %j as %j', (name, value, canonical) => {
    const { settings, placed } = readSettings({ [name]: value });
    expect(settings).toEqual({ [name]: canonical });
    expect(placed.has(name)).toBe(true);
  });

  it.each([
    ['reasoningLevel', 'off'],
    ['responseUsage', 'off'],
    ['model', null],
    ['sendPolicy', null],
  ])('treats %s %j as unset', (name, value) => {
    expect(readSettings({ [name]: value }).settings).toEqual({});
  });

  it.each([
    ['thinkingLevel', 'adaptive'],
    ['queueCap', 1.5],
    ['queueCap', 3_000_000_000],
    ['execNode', '  '],
    ['sendPolicy', 1],
  ])('does not accept %s %j, which then stays in settings.extra', (name, value) => {
    const { settings, placed } = readSettings({ [name]: value });
    expect(settings).toEqual({});
    expect(placed.has(name)).toBe(false);
  });
});
