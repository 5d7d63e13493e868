// The checker as a user's program has it.
import {
  type CheckResult,
  check,
  defineModel,
  formatSchedule,
  type Model,
  parseSchedule,
  renderFailure,
  replay,
} from 'vmspace/check';

interface Shared {
  readonly words: Int32Array;
}

export const model: Model<Shared> = defineModel<Shared>({
  name: 'counter',
  title: 'two increments',
  invariant: 'none is lost',
  preemptions: 2,
  setup: () => ({ words: new Int32Array(new SharedArrayBuffer(4)) }),
  threads: ['a', 'b'].map((name) => ({ name, run: ({ words }: Shared) => Atomics.add(words, 0, 1) })),
  check({ shared }) {
    if (shared.words[0] !== 2) throw new Error('lost');
  },
});
export const models: readonly Model<Shared>[] = [model];

const source = { url: import.meta.url, name: 'counter', transform: true };
// The checker's threads load this module too: only the program itself runs the search.
if (
  process.argv[1] !== undefined &&
  import.meta.url.endsWith(process.argv[1].replaceAll('\\', '/').split('/').at(-1) as string)
) {
  const result: CheckResult = await check(source, { jobs: 1 });
  if (result.verdict !== 'exhausted') throw new Error(`the verdict is ${result.verdict}`);
  const replayed = await replay(source, parseSchedule('-'));
  if (renderFailure(result, replayed) !== '' || formatSchedule([]) !== '-')
    throw new Error('there was no failure to render');
}
