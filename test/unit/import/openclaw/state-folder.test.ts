import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findState, NothingToImportError } from '../../../../src/import/openclaw/state-folder.ts';

let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'sessiongraph-state-'));
  const files = [
    'state/agents/main/sessions/sessions.json',
    'state/agents/main/sessions/a.jsonl',
    'state/agents/main/sessions/b-topic-7.jsonl',
    'state/agents/main/sessions/a.checkpoint.7c1f0c1e-0000-4000-8000-000000000001.jsonl',
    'state/agents/Night Shift/sessions/c.jsonl',
    'state/agents/new/agent/openclaw-agent.sqlite',
    'state/sessions/old.jsonl',
    'loose/x.jsonl',
    'empty/readme.md',
  ];
  for (const file of files) {
    await mkdir(dirname(join(root, file)), { recursive: true });
    await writeFile(join(root, file), '');
  }
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function findFolders(path: string, agentId: string | null = null) {
  const { folders, skipped } = await findState(join(root, path), agentId, 'fallback');
  return { folders: folders.map(({ agentId, name, transcripts }) => [agentId, name, transcripts.join(' ')]), skipped };
}

describe('findState', () => {
  it('finds every agent in a state folder, and the sessions folder of versions without agents', async () => {
    expect(await findFolders('state')).toEqual({
      folders: [
        ['night-shift', 'agents/Night Shift/sessions', 'c.jsonl'],
        ['main', 'agents/main/sessions', 'a.jsonl b-topic-7.jsonl'],
        ['fallback', 'sessions', 'old.jsonl'],
      ],
      skipped: [{ name: 'agents/new/agent/openclaw-agent.sqlite', reason: 'SQLite store of a newer OpenClaw, not supported' }],
    });
  });

  it.each([
    [
      'state/agents',
      [
        ['night-shift', 'Night Shift/sessions', 'c.jsonl'],
        ['main', 'main/sessions', 'a.jsonl b-topic-7.jsonl'],
      ],
    ],
    ['state/agents/main', [['main', 'sessions', 'a.jsonl b-topic-7.jsonl']]],
    ['state/agents/main/sessions', [['main', '', 'a.jsonl b-topic-7.jsonl']]],
    ['state/agents/main/sessions/sessions.json', [['main', '', 'a.jsonl b-topic-7.jsonl']]],
    ['state/agents/main/sessions/a.jsonl', [['main', '', 'a.jsonl']]],
    ['loose', [['fallback', '', 'x.jsonl']]],
    ['loose/x.jsonl', [['fallback', '', 'x.jsonl']]],
  ])('finds the sessions of %s', async (path, folders) => {
    expect((await findFolders(path)).folders).toEqual(folders);
  });

  it('finds only the sessions of a given agent, and uses it for a folder that names none', async () => {
    expect((await findFolders('loose', 'Work')).folders).toEqual([['work', '', 'x.jsonl']]);
    expect((await findFolders('state', 'main')).folders).toEqual([['main', 'agents/main/sessions', 'a.jsonl b-topic-7.jsonl']]);
    expect((await findFolders('state/agents', 'night shift')).folders).toEqual([['night-shift', 'Night Shift/sessions', 'c.jsonl']]);
  });

  it.each(['empty', 'empty/readme.md', 'nowhere'])('throws NothingToImportError for %s', async path => {
    await expect(findFolders(path)).rejects.toThrow(NothingToImportError);
  });
});
