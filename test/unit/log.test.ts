import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const LOG = new URL('../../src/log.ts', import.meta.url).href;

/** Runs code that logs in a process of its own, and returns the messages that reached standard error. */
function messagesOf(code: string): unknown[] {
  const program = `import { createLog } from ${JSON.stringify(LOG)};\nconst log = createLog('info');\n${code}`;
  const { stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    encoding: 'utf8',
  });
  const lines = stderr.split('\n').filter(line => line.startsWith('{'));
  return lines.map(line => JSON.parse(line).msg);
}

it.each([
  ['ends', ''],
  ['exits', 'process.exit(1);'],
  ['fails', "throw new Error('unexpected');"],
])('writes the lines that still wait when the process %s', (_how, end) => {
  expect(messagesOf(`log.info('first'); log.error('second'); ${end}`)).toEqual(['first', 'second']);
});

it('writes waiting lines while the process goes on', () => {
  // A process that is killed writes nothing when it ends.
  expect(messagesOf("log.info('first'); setTimeout(() => process.kill(process.pid, 'SIGKILL'), 2_000);")).toEqual(['first']);
});
