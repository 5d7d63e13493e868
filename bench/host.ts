/** The same loops in C on the host kernel. */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../bench/c/host.c', import.meta.url));

export class HostLoops {
  readonly #program: string;

  constructor(program: string) {
    this.#program = program;
  }

  /** Operations per second. */
  rate(loop: 'fault' | 'pair', threads: number, milliseconds: number): number {
    return Number(execFileSync(this.#program, [loop, String(threads), String(milliseconds)], { encoding: 'utf8' }));
  }
}

/** Undefined, with a line that says so, where there is no C compiler. */
export function compileHostLoops(folder: string, note: (line: string) => void): HostLoops | undefined {
  const program = join(folder, 'host');
  const compiler = spawnSync('cc', ['-O2', '-pthread', '-o', program, SOURCE], { encoding: 'utf8' });
  if (compiler.status === 0) return new HostLoops(program);
  const why = compiler.error === undefined ? compiler.stderr.trim() : compiler.error.message;
  note(`no C compiler, the comparisons with the host kernel are skipped: ${why}`);
  return undefined;
}
