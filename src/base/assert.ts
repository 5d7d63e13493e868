import { DEV } from '#dev';
import { Oops } from './errors.ts';

/** Asserts an internal rule in development builds. `rule` is the invariant's name, `detail` is only made on failure. */
export function assertRule(holds: boolean, rule: string, detail: () => string): void {
  if (DEV && !holds) throw new Oops(rule, detail());
}

/** For a state that cannot be: throws in every build. */
export function oops(rule: string, detail: string): never {
  throw new Oops(rule, detail);
}
