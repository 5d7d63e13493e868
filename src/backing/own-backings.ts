/**
 * This thread's backings, one for each file that it has read. The thread makes one from the file's descriptor when it first must read, or
 * is given one. Whatever runs a function of a backing's author goes through `callback`.
 */
import { load } from '#atomics';
import type { MappingRef } from '../base/brands.ts';
import { VmError } from '../base/errors.ts';
import { H_FILES_CLOSED } from '../sync/control.layout.ts';
import type { Cpu } from '../sync/cpu.ts';
import { type Backing, makeBacking } from './backing.ts';
import { parseDescriptor } from './descriptor.ts';
import { BackingFailure, failureOf } from './failure.ts';
import type { FileTable } from './file-table.ts';

interface LocalBacking {
  readonly serial: number;
  readonly backing: Backing;
}

export class OwnBackings {
  private readonly _cpu: Cpu;
  private readonly _table: FileTable;
  private readonly _local = new Map<MappingRef, LocalBacking>();
  private _closedSeen = 0;

  constructor(cpu: Cpu, table: FileTable) {
    this._cpu = cpu;
    this._table = table;
  }

  /** Closes those of files that are gone, or all (when the cpu detaches). */
  sweep(which: 'closed' | 'all'): void {
    const closed = load(this._cpu.words, H_FILES_CLOSED);
    if (which === 'closed' && closed === this._closedSeen) return;
    this._closedSeen = closed;
    for (const [mapping, { serial, backing }] of this._local) {
      if (which === 'closed' && this._table.isLive(mapping, serial)) continue;
      this._local.delete(mapping);
      this.closeQuietly(backing);
    }
  }

  /** Lets this thread use `backing` itself for the file (a Blob, say, which no descriptor can name). */
  adopt(mapping: MappingRef, backing: Backing): void {
    this.sweep('closed'); // the record may have been that of a file which this thread has still open
    const was = this._local.get(mapping);
    if (was !== undefined && was.backing !== backing) this.closeQuietly(was.backing);
    this._local.set(mapping, { serial: this._table.serial(mapping), backing });
  }

  /** This thread's backing of the file, if it has one already. Calls nobody. */
  known(mapping: MappingRef): Backing | undefined {
    const known = this._local.get(mapping);
    return known !== undefined && known.serial === this._table.serial(mapping) ? known.backing : undefined;
  }

  /** This thread's backing of the file, made if need be. Requires: as `callback`. */
  of(mapping: MappingRef): Backing {
    this.sweep('closed');
    const known = this.known(mapping);
    if (known !== undefined) return known;
    const { kind, options } = parseDescriptor(this._table.descriptor(mapping));
    const backing = this._make(kind, options, this._table.size(mapping), 'read');
    this._local.set(mapping, { serial: this._table.serial(mapping), backing });
    return backing;
  }

  /** Closes a backing that nobody needs any more. Throws nothing, whatever its author's code does. */
  closeQuietly(backing: Backing): void {
    try {
      this.callback(() => backing.close());
    } catch {
      // The file is gone for this thread: nobody is left to be told, and whoever closes must go on.
    }
  }

  /**
   * The backing of a file that is being created. Nobody waits for a page yet: what the factory throws fails the call. Throws ENODEV,
   * EINVAL; EIO, or its code, for what the factory throws.
   */
  makeFirst(text: string, size: number): Backing {
    const { kind, options } = parseDescriptor(text); // as other threads get them
    try {
      return this._make(kind, options, size, 'createFile');
    } catch (error) {
      if (!(error instanceof BackingFailure)) throw error;
      const why = `the factory of '${kind}' has thrown: ${error.why}`;
      const failure = new VmError(error.code ?? 'EIO', 'createFile', why);
      failure.cause = error.thrown;
      throw failure;
    }
  }

  private _make(kind: string, options: unknown, size: number, syscall: 'read' | 'createFile'): Backing {
    return makeBacking(kind, options, size, syscall, (factory) => this.callback(factory));
  }

  /**
   * Runs a user's function. Meanwhile no public call of this thread may lock or wait. Throws what the function throws as a
   * BackingFailure.
   * Requires: outside sections.
   */
  callback<T>(run: () => T): T {
    this._cpu.callbacks++;
    try {
      return run();
    } catch (error) {
      throw failureOf(error);
    } finally {
      this._cpu.callbacks--;
    }
  }
}
