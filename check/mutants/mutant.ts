/** A wrong version of the library: an exact edit of its source, and the model that must catch it. Never part of a bundle in dist. */
export interface Mutant {
  /** `model/what-is-wrong`. */
  readonly id: string;
  /** Name of the model that must fail. */
  readonly model: string;
  /** What was dropped, swapped or left out, and what that breaks. One or two sentences. */
  readonly why: string;
  /** Applied to the sources while bundling. `find` must occur exactly once in the file. */
  readonly edits: readonly { readonly file: string; readonly find: string; readonly replace: string }[];
  /** What the failure must say. */
  readonly fails: RegExp;
  /** Preemptions within which it must be found. Default: the model's. */
  readonly preemptions?: number;
}
