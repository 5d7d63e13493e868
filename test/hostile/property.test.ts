/**
 * Random hostile programs: several calls, each with any number of hostile arguments, and files with hostile backings. A failure
 * prints its seed, its path and the program; `VMSPACE_SEED=<seed> VMSPACE_PATH=<path> npx vitest run test/hostile/property.test.ts`
 * does it again. `VMSPACE_RUNS` is the number of programs.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DESIGN_NAMES, type DesignName } from '../../src/node.ts';
import { PAGE, pattern, temporaryFiles } from '../support.ts';
import { type BackingStep, takeBacking, textOfBacking } from './backing-programs.ts';
import { ACCESSES, CLOSES, CREATE, FACTORIES, type Named, READS, registerHostile } from './backings.ts';
import { CALLS, type Call, hostilesFor, MORE_CALLS } from './calls.ts';
import { REENTRIES, type Step, type Taken, take, textOf } from './programs.ts';
import { VALUES } from './values.ts';
import { secondInstance, World } from './world.ts';

const SEED = Number(process.env.VMSPACE_SEED ?? 20180711);
const RUNS = Number(process.env.VMSPACE_RUNS ?? 50);
const PATH = process.env.VMSPACE_PATH;
const PARAMETERS = { seed: SEED, numRuns: RUNS, ...(PATH === undefined ? {} : { path: PATH, endOnFailure: true }) };

const files = temporaryFiles();
const path = files.write('hostile', pattern(3 * PAGE));
let instance: Awaited<ReturnType<typeof secondInstance>>;

beforeAll(async () => {
  instance = await secondInstance();
  registerHostile(instance);
});
afterAll(() => files.remove());

const reentry = fc.constantFrom(...Object.keys(REENTRIES));

function stepOf(call: Call): fc.Arbitrary<Step> {
  const hostile = call.params.map((param) => {
    const values = fc.constantFrom(...hostilesFor(param, VALUES));
    return fc.option(values, { nil: undefined, freq: 2 });
  });
  return fc.record({ hostile: fc.tuple(...hostile), reentry }).map((rest) => shown({ call, ...rest }, textOf));
}

function shown<S extends object>(step: S, text: (step: S) => string): S {
  return Object.defineProperty(step, fc.toStringMethod, { value: () => text(step) });
}

const steps = fc.array(fc.constantFrom(...CALLS, ...MORE_CALLS).chain(stepOf), { minLength: 1, maxLength: 4 });

const part = (list: readonly Named[]): fc.Arbitrary<Named | undefined> =>
  fc.option(fc.constantFrom(...list), { nil: undefined, freq: 3 });

const backingSteps = fc.array(
  fc
    .record({
      factory: fc.option(fc.constantFrom(...FACTORIES), { nil: undefined, freq: 3 }),
      read: part(READS),
      close: part(CLOSES),
      accesses: fc.array(fc.constantFrom(...ACCESSES, CREATE), { minLength: 1, maxLength: 5 }),
      reentry,
    })
    .map((step) => shown<BackingStep>(step, textOfBacking)),
  { minLength: 1, maxLength: 3 },
);

/** One world for all programs, as long as nothing is damaged. */
async function checkAll<S>(
  options: { design: DesignName; memory?: number },
  programs: fc.Arbitrary<S[]>,
  takeOne: (world: World, step: S) => Promise<Taken>,
): Promise<void> {
  let world: World | undefined;
  await fc.assert(
    fc.asyncProperty(programs, async (program) => {
      for (const step of program) {
        world ??= new World(instance, { path, ...options });
        const { complaints, sound } = await takeOne(world, step);
        if (!sound) world = undefined;
        expect(complaints).toEqual([]);
      }
    }),
    PARAMETERS,
  );
  expect(world?.finish() ?? []).toEqual([]);
}

test.each(DESIGN_NAMES)('hostile calls under %s', (design) => checkAll({ design }, steps, take), 600_000);

test.each(DESIGN_NAMES)(
  'hostile backings under %s',
  (design) => checkAll({ design }, backingSteps, takeBacking),
  600_000,
);

test.each(DESIGN_NAMES)(
  'hostile backings under %s while memory is short',
  (design) => checkAll({ design, memory: 64 * PAGE }, backingSteps, takeBacking),
  600_000,
);
