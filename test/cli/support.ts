/** Runs the built command line as its users do: as a process of its own. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HANG_MS } from '../hang.ts';

const ROOT: string = fileURLToPath(new URL('../..', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function buildCli(): void {
  execFileSync(process.execPath, ['scripts/build.mjs', '--lib', '--check', '--cli', '--if-stale', '--quiet'], {
    cwd: ROOT,
    stdio: 'inherit',
  });
}

export interface Running {
  readonly outcome: Promise<Outcome>;
  /** Resolves when standard error has said `text`. */
  said(text: string): Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

export function startCli(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  const child = spawn(process.execPath, [join(ROOT, 'dist/cli/main.js'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    timeout: HANG_MS, // ended by it, a command has no exit code
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  let heard: () => void = () => undefined;
  child.stdout.on('data', (data: Buffer) => {
    stdout += data.toString();
  });
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
    heard();
  });
  const outcome = new Promise<Outcome>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  const said = async (text: string): Promise<void> => {
    const spoken = new Promise<void>((resolve) => {
      heard = (): void => {
        if (stderr.includes(text)) resolve();
      };
      heard();
    });
    await Promise.race([spoken, outcome]);
  };
  return { outcome, said, kill: (signal) => child.kill(signal) };
}

export function runCli(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  return startCli(args, env).outcome;
}

/** A folder for the files of one test file, and its end. */
export function scratch(): { readonly folder: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'vmspace-cli-test-'));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
