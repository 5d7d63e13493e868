/** Every public call with every hostile value in place of each argument. */
import { afterAll, beforeAll, test } from 'vitest';
import { PAGE, pattern, temporaryFiles } from '../support.ts';
import { CALLS, type Call, hostilesFor, MORE_CALLS, nameOfCall } from './calls.ts';
import { type Step, take, takeAll, textOf } from './programs.ts';
import { VALUES } from './values.ts';
import { secondInstance, World } from './world.ts';

const files = temporaryFiles();
const path = files.write('hostile', pattern(3 * PAGE));
let instance: Awaited<ReturnType<typeof secondInstance>>;

beforeAll(async () => {
  instance = await secondInstance();
});
afterAll(() => files.remove());

function* stepsOf(call: Call): Generator<Omit<Step, 'reentry'>> {
  yield { call, hostile: [] };
  for (const [i, param] of call.params.entries()) {
    for (const value of hostilesFor(param, VALUES)) {
      yield { call, hostile: call.params.map((_, at) => (at === i ? value : undefined)) };
    }
  }
}

test.each([...CALLS, ...MORE_CALLS].map((call) => [nameOfCall(call), call] as const))(
  '%s with one hostile argument',
  async (_name, call) => {
    await takeAll(() => new World(instance, { path }), stepsOf(call), {
      take: (world, step, reentry) => take(world, { ...step, reentry }),
      textOf: (step, reentry) => textOf({ ...step, reentry }),
    });
  },
);
