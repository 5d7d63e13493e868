/**
 * `vmspace/check`: explores the interleavings of code that shares memory between threads, and replays what it finds.
 *
 * ```js
 * // counter.model.js
 * export const models = [{
 *   name: 'counter', title: 'two increments', invariant: 'no increment is lost', preemptions: 2,
 *   setup: () => ({ words: new Int32Array(new SharedArrayBuffer(4)) }),
 *   threads: ['a', 'b'].map((name) => ({ name, run: ({ words }) => { words[0]++; } })),
 *   check({ shared }) { if (shared.words[0] !== 2) throw new Error('lost'); },
 * }];
 * ```
 *
 * ```js
 * const source = { url: new URL('./counter.model.js', import.meta.url).href, name: 'counter', transform: true };
 * const result = await check(source);
 * if (result.failure) console.log(renderFailure(result, await replay(source, result.failure.script)));
 * ```
 */
export type { Ended, Failure, Prefix, Totals } from './engine/leader.ts';
export {
  CheckerError,
  type CheckOptions,
  type Checkpoint,
  type CheckResult,
  check,
  type Facts,
  type ModelSource,
  type Progress,
  type Recorded,
  type Replayed,
  replay,
  type Strategy,
} from './explore.ts';
export { linearizable, type Operation, type SequentialModel } from './linearizability.ts';
export { defineModel, type End, type Model, type ThreadContext, type ThreadSpec } from './model.ts';
export { FAILURE_NAMES, type RenderOptions, renderFailure, renderReplay } from './report.ts';
export { formatSchedule, parseSchedule } from './schedule.ts';
