/** Every public call with every hostile value in place of each argument. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PAGE, pattern, temporaryFiles } from '../support.ts';
import { CALLS, type Call, hostilesFor, MORE_CALLS, nameOfCall } from './calls.ts';
import { Complaints, REENTRIES, type Step, take, textOf } from './programs.ts';
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

describe('one hostile argument', () => {
  test.each([...CALLS, ...MORE_CALLS].map((call) => [`${nameOfCall(call)}`, call] as const))(
    '%s',
    async (_name, call) => {
      const wrong = new Complaints();
      let world = new World(instance, { path });
      for (const step of stepsOf(call)) {
        for (const reentry of Object.keys(REENTRIES)) {
          const { complaints, ran, sound } = await take(world, { ...step, reentry });
          for (const complaint of complaints) wrong.add(complaint, textOf({ ...step, reentry }));
          if (!sound) world = new World(instance, { path });
          if (!ran) break;
        }
      }
      for (const complaint of world.finish()) wrong.add(complaint, 'the end');
      expect(wrong.list()).toEqual([]);
    },
    120_000,
  );
});
