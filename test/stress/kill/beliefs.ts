/**
 * What may be in each page of a space when some calls were cut off in the middle: a set of states per page, and the calls of which
 * nobody knows how far they came and that whoever reaps their threads may still carry out.
 */
import { PROT_READ, PROT_WRITE } from '../../../src/index.ts';

/** A page that is mapped. */
export interface Mapped {
  readonly prot: number;
  /** Where a page comes from that nobody has written: 'anon', or file and index. */
  readonly origin: string;
  readonly value: number;
}

/** Undefined: nothing is mapped. */
export type State = Mapped | undefined;
export type Change = (state: State) => readonly State[];

export const canRead = (state: State): boolean => state !== undefined && (state.prot & (PROT_READ | PROT_WRITE)) !== 0;
export const canWrite = (state: State): boolean => state !== undefined && (state.prot & PROT_WRITE) !== 0;

export class Beliefs {
  readonly #states = new Map<number, readonly State[]>();
  readonly #pending: { readonly page: number; readonly change: Change }[] = [];

  /** What the page may be, whatever becomes of the calls that were cut off. */
  of(page: number): readonly State[] {
    let states = this.#states.get(page) ?? [undefined];
    for (const pending of this.#pending) {
      if (pending.page === page) states = distinct([...states, ...states.flatMap((state) => pending.change(state))]);
    }
    return states;
  }

  /** The change was made, and nothing that was cut off before can still come: it had to wait for that. */
  layoutDone(pages: readonly number[], change: Change): void {
    this.settle();
    for (const page of pages) this.#states.set(page, distinct(this.of(page).flatMap((state) => change(state))));
  }

  /** An access went through: it found one of the states that allow it. */
  accessDone(page: number, allows: (state: State) => boolean, change: Change): void {
    this.#states.set(
      page,
      distinct(
        this.of(page)
          .filter(allows)
          .flatMap((state) => change(state)),
      ),
    );
  }

  /** The change may have been made, or be made later. */
  perhaps(pages: readonly number[], change: Change): void {
    for (const page of pages) {
      const states = this.of(page);
      this.#states.set(page, distinct([...states, ...states.flatMap((state) => change(state))]));
      this.#pending.push({ page, change });
    }
  }

  /** All threads that were cut off have been reaped: nothing comes any more. */
  settle(): void {
    for (const page of new Set(this.#pending.map((pending) => pending.page))) this.#states.set(page, this.of(page));
    this.#pending.length = 0;
  }
}

export function describeState(state: State): string {
  return state === undefined ? 'a hole' : `prot ${state.prot} ${state.origin} = ${state.value}`;
}

function distinct(states: readonly State[]): State[] {
  const seen = new Map<string, State>();
  for (const state of states) seen.set(describeState(state), state);
  return [...seen.values()];
}
