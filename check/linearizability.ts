/**
 * Linearizability of a history against a sequential model (Herlihy and Wing 1990), by the search of Wing and Gong (1993) with Lowe's
 * memory of configurations that have been tried (2017).
 */

/** One call of a thread. `call` and `return` are times of one clock; `return` is undefined for a call that never came back. */
export interface Operation<Args = unknown, Result = unknown> {
  readonly thread: string;
  readonly name: string;
  readonly args: Args;
  readonly result: Result;
  readonly call: number;
  readonly return: number | undefined;
}

export interface SequentialModel<State, Args = unknown, Result = unknown> {
  readonly initial: State;
  /** What the operation may do: each a state after it, with its result. Empty where it is not possible. */
  apply(state: State, operation: Operation<Args, Result>): readonly (readonly [State, Result])[];
  /** Equal for equal states. */
  key(state: State): string;
}

/**
 * Undefined if the calls can be put in an order that fits both their times and the model; else why not. A call that never came
 * back may have happened, with any result, or not. At most 30 calls.
 */
export function linearizable<State, Args, Result>(
  history: readonly Operation<Args, Result>[],
  model: SequentialModel<State, Args, Result>,
): string | undefined {
  if (history.length > 30) throw new RangeError(`a history of ${history.length} calls: 30 at most`);
  const tried = new Set<string>();
  let longest: Operation<Args, Result>[] = [];
  const search = (state: State, done: number, order: Operation<Args, Result>[]): boolean => {
    if (order.length > longest.length) longest = [...order];
    const left = history.filter((_, i) => (done & (1 << i)) === 0);
    if (left.every((operation) => operation.return === undefined)) return true;
    const key = `${done}:${model.key(state)}`;
    if (tried.has(key)) return false;
    tried.add(key);
    // Whoever was called after another one had returned cannot come before it.
    const first = Math.min(...left.map((operation) => operation.return ?? Number.POSITIVE_INFINITY));
    for (let i = 0; i < history.length; i++) {
      const operation = history[i] as Operation<Args, Result>;
      if ((done & (1 << i)) !== 0 || operation.call > first) continue;
      const result = JSON.stringify(operation.result);
      for (const [next, possible] of model.apply(state, operation)) {
        if (operation.return !== undefined && JSON.stringify(possible) !== result) continue;
        order.push(operation);
        if (search(next, done | (1 << i), order)) return true;
        order.pop();
      }
    }
    return false;
  };
  if (search(model.initial, 0, [])) return undefined;
  const show = ({ thread, name, args, result, call, return: end }: Operation<Args, Result>): string =>
    `${thread}: ${name}(${JSON.stringify(args)}) = ${JSON.stringify(result)} from ${call} to ${end ?? 'never'}`;
  return `not linearizable; the longest order that fits has ${longest.length} of ${history.length} calls:\n${history.map(show).join('\n')}`;
}
