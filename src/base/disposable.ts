/** `using` for what is closed: Symbol.dispose, where the host has it, is the same as `close`. */

declare global {
  // As lib.esnext.disposable and @types/node have it: not every consumer's compiler is given one of them.
  interface SymbolConstructor {
    readonly dispose: unique symbol;
  }
}

/** What `using` takes. */
export interface Closable {
  /** Lets go of what the object has; the class says of what. */
  close(): void;
  /** The same as `close`. Where the host has no Symbol.dispose it is missing. */
  readonly [Symbol.dispose]: () => void;
}

/** Gives the objects of a class the method `[Symbol.dispose]`. Where the host has no such symbol nothing is added. */
export function makeDisposable(prototype: { close(): void }): void {
  const symbol: symbol | undefined = Symbol.dispose;
  if (symbol === undefined) return;
  Object.defineProperty(prototype, symbol, {
    value: function dispose(this: { close(): void }): void {
      this.close();
    },
    configurable: true,
    writable: true,
  });
}
