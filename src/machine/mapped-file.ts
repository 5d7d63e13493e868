/** A file as one thread has it open: what `mmap` takes. */
import type { MappingRef } from '../base/brands.ts';
import { type Closable, makeDisposable } from '../base/disposable.ts';
import { VmError } from '../base/errors.ts';
import { INSPECT, type Inspect, inspected } from '../base/inspect.ts';
import type { Kernel } from '../space/kernel.ts';
import { LAYOUT_VERSION } from '../sync/control.layout.ts';

/** What `attachFile` takes. Survives structured cloning. */
export interface FileHandle {
  /** Tells it from the other handles. */
  readonly kind: 'vmspace.file';
  /** Of the layout of the machine's memory. Both threads must have the same. */
  readonly version: number;
  /** Identifies the machine. */
  readonly machine: string;
  /** The record of the file. Another file may get it afterwards. */
  readonly file: number;
  /** Which of the files that ever had the record it is. */
  readonly serial: number;
  /** Bytes, as of the opening. */
  readonly size: number;
}

/** A file that one thread has open: what `space.mmap` takes. `openFile`, `openBlob`, `createFile` and `attachFile` make it. */
export class MappedFile implements Closable {
  /** Cloneable: another thread of the same machine passes it to `machine.attachFile`. */
  readonly handle: FileHandle;
  /** Bytes, as of the opening. */
  readonly size: number;
  /** The same as `close`, for `using`. Where the host has no Symbol.dispose it is missing. */
  declare readonly [Symbol.dispose]: () => void;
  readonly #k: Kernel;
  readonly #mapping: MappingRef;
  readonly #onClose: (file: MappedFile) => void;
  #closed = false;

  /** @internal Use `openFile` or `machine.createFile`. */
  constructor(k: Kernel, mapping: MappingRef, machine: string, onClose: (file: MappedFile) => void) {
    this.#k = k;
    this.#mapping = mapping;
    this.#onClose = onClose;
    this.size = k.files.size(mapping);
    this.handle = {
      kind: 'vmspace.file',
      version: LAYOUT_VERSION,
      machine,
      file: mapping,
      serial: k.files.serial(mapping),
      size: this.size,
    };
  }

  /** Identifies the file within the machine while it is open or mapped. */
  get id(): number {
    return this.#mapping;
  }

  /** Whether this thread has closed the file, or the machine. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Closes the file in this thread. Its mappings stay valid, and so do files of the same handle that are open elsewhere. A second
   * call does nothing.
   *
   * @throws ETIMEDOUT when a thread that died, or hangs, holds a lock that is needed. The file is open then.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true; // first: a backing that is closed with it may call this again
    try {
      this.#onClose(this);
    } catch (error) {
      this.#closed = false;
      throw error;
    }
  }

  /** @internal */
  [INSPECT](depth: number, options: object, inspect: Inspect): string {
    const { id, size, closed } = this;
    return inspected('MappedFile', { id, size, closed }, depth, options, inspect);
  }

  /** @internal This thread has left the machine, and its files with it. */
  machineClosed(): void {
    this.#closed = true;
  }

  /**
   * The record of `file`, if it is a file of this machine; undefined for anything else. No method of the object is called.
   *
   * @internal
   * @throws EBADF when the file is closed.
   */
  static mappingOf(file: unknown, k: Kernel): MappingRef | undefined {
    if (typeof file !== 'object' || file === null || !(#k in file) || file.#k !== k) return undefined;
    if (file.#closed) throw new VmError('EBADF', 'mmap', 'the file is closed');
    return file.#mapping;
  }
}

makeDisposable(MappedFile.prototype);
