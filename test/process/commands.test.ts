import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const COMMANDS = {
  bench: 'bench',
  'check-drift': 'check-drift',
  'import:openclaw': 'import-openclaw',
  key: 'key',
  migrate: 'migrate',
  'new-migration': 'new-migration',
  'print-schema': 'print-schema',
  seed: 'seed',
};

function runScript(name: string, ...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise(resolve => {
    const words = ['--import', 'tsx', `scripts/${name}.ts`, ...args];
    const child = execFile(process.execPath, words, { cwd: ROOT }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

describe('the commands of npm', () => {
  it.each(Object.entries(COMMANDS))('%s answers a wrong option with one line', async (name, script) => {
    const stderr = `Unknown option '--wrong'. See: npm run ${name} -- --help\n`;
    expect(await runScript(script, '--wrong')).toEqual({ code: 1, stdout: '', stderr });
  });

  it('print their usage for --help', async () => {
    const { code, stdout, stderr } = await runScript('seed', '--sessions', 'many', '--help');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^npm run seed -- \[--sessions N\]/);
  });

  it('name the option, the value and what is allowed', async () => {
    expect((await runScript('seed', '--sessions', 'many')).stderr).toBe(
      '--sessions must be a whole number from 0 to 1000000; got "many". See: npm run seed -- --help\n',
    );
  });
});
