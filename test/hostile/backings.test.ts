/** Every access and every end of a file, with hostile backings. */
import { afterAll, beforeAll, describe, test } from 'vitest';
import { DESIGNS, PAGE, pattern, temporaryFiles } from '../support.ts';
import { type BackingStep, takeBacking, textOfBacking } from './backing-programs.ts';
import { ACCESSES, CLOSES, CREATE, FACTORIES, type Named, READS, registerHostile } from './backings.ts';
import { takeAll } from './programs.ts';
import { secondInstance, World } from './world.ts';

const files = temporaryFiles();
const path = files.write('hostile', pattern(3 * PAGE));
let instance: Awaited<ReturnType<typeof secondInstance>>;

beforeAll(async () => {
  instance = await secondInstance();
  registerHostile(instance);
});
afterAll(() => files.remove());

const ENDS = ACCESSES.filter(({ reads }) => !reads);
const LOAD = ACCESSES.filter(({ name }) => name === 'load8');

async function check(design: (typeof DESIGNS)[number], steps: Iterable<Omit<BackingStep, 'reentry'>>): Promise<void> {
  await takeAll(() => new World(instance, { path, design }), steps, {
    take: (world, step, reentry) => takeBacking(world, { ...step, reentry }),
    textOf: (step, reentry) => textOfBacking({ ...step, reentry }),
  });
}

function* each(part: 'factory' | 'read', list: readonly Named[]): Generator<Omit<BackingStep, 'reentry'>> {
  for (const named of list) {
    for (const access of ACCESSES.filter(({ reads }) => reads)) {
      yield { factory: undefined, read: undefined, close: undefined, [part]: named, accesses: [access, access] };
    }
    yield { factory: undefined, read: undefined, close: undefined, [part]: named, accesses: [CREATE, ...LOAD] };
  }
}

function* closes(): Generator<Omit<BackingStep, 'reentry'>> {
  for (const close of CLOSES) {
    for (const end of ENDS) {
      yield { factory: undefined, read: undefined, close, accesses: [...LOAD, end, ...ENDS] };
    }
  }
}

describe.each(DESIGNS)('under %s', (design) => {
  test('hostile factories', () => check(design, each('factory', FACTORIES)));
  test('hostile reads', () => check(design, each('read', READS)));
  test('hostile closes', () => check(design, closes()));
});
