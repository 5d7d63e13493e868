/**
 * Copy helpers. They report what was done: a bad address in the middle ends the copy there, one at the first byte throws. So a
 * caller never mistakes half a copy for a whole one, and nothing was written past the fault. Whatever else ends a copy in the
 * middle is thrown with the bytes done before it.
 */
import { copyData, fillData, moveData } from '#atomics';
import { byteCount, show } from '../base/arguments.ts';
import { BusError, SegmentationFault, seenFrom, VmError } from '../base/errors.ts';
import { plainBytes } from '../base/foreign.ts';
import { PAGE_MASK, PAGE_SIZE } from '../base/limits.ts';
import type { FrameViews } from '../memory/frame-views.ts';
import { MAX_PAIR_ATTEMPTS, type Translator } from './translate.ts';

export class BulkAccess {
  private readonly _translator: Translator;
  private readonly _views: FrameViews;

  constructor(translator: Translator, views: FrameViews) {
    this._translator = translator;
    this._views = views;
  }

  read(address: number, target: Uint8Array): number {
    const bytes = plainBytes(target, 'read');
    const { length } = bytes;
    return this._pages(address, length, false, 'read', (at, done, size) => {
      checkStillThere(bytes, length, 'read');
      copyData(bytes, done, this._views.u8, at, at + size);
    });
  }

  write(address: number, source: Uint8Array): number {
    const bytes = plainBytes(source, 'write');
    const { length } = bytes;
    return this._pages(address, length, true, 'write', (at, done, size) => {
      checkStillThere(bytes, length, 'write');
      copyData(this._views.u8, at, bytes, done, done + size);
    });
  }

  fill(address: number, length: number, value: number): number {
    byteCount(length, 'length', 'fill');
    if (!Number.isInteger(value)) throw new VmError('EINVAL', 'fill', `${show(value)} is not a byte`);
    return this._pages(address, length, true, 'fill', (at, _done, size) =>
      fillData(this._views.u8, at, at + size, value),
    );
  }

  copy(target: number, source: number, length: number): number {
    byteCount(length, 'length', 'copy');
    byteCount(target, 'target', 'copy');
    byteCount(source, 'source', 'copy');
    if (target > source && target < source + length) return this._copyBackward(target, source, length);
    let done = 0;
    try {
      while (done < length) done += this._copyPart(target + done, source + done, length - done);
    } catch (error) {
      rethrowUnlessPartial(error, 'copy', target + done, done);
    }
    return done;
  }

  /** Everything is faulted in first: bytes done from the end would tell the caller of a bad address nothing. */
  private _copyBackward(target: number, source: number, length: number): number {
    let left = length;
    try {
      this._prefaultAll(target, source, length);
      while (left > 0) {
        const size = Math.min(left, ((target + left - 1) & PAGE_MASK) + 1, ((source + left - 1) & PAGE_MASK) + 1);
        this._copyPart(target + left - size, source + left - size, size);
        left -= size;
      }
    } catch (error) {
      throw seenFrom(error, 'copy', target + left, length - left);
    }
    return length;
  }

  private _prefaultAll(target: number, source: number, length: number): void {
    for (let at = target; at < target + length; at = (Math.floor(at / PAGE_SIZE) + 1) * PAGE_SIZE) {
      this._translator.translate(at, true, 'copy');
    }
    for (let at = source; at < source + length; at = (Math.floor(at / PAGE_SIZE) + 1) * PAGE_SIZE) {
      this._translator.translate(at, false, 'copy');
    }
  }

  /** As much as fits in the page of either side. Both are translated at the same instant. */
  private _copyPart(target: number, source: number, length: number): number {
    const size = Math.min(length, PAGE_SIZE - (target & PAGE_MASK), PAGE_SIZE - (source & PAGE_MASK));
    const { rcu } = this._translator.k;
    for (let attempt = 0; attempt < MAX_PAIR_ATTEMPTS; attempt++) {
      const to = this._translator.translate(target, true, 'copy');
      const serial = rcu.sectionSerial;
      const from = this._translator.translate(source, false, 'copy');
      if (rcu.sectionSerial !== serial) continue; // the second slept: the first is void
      moveData(this._views.u8, to, from, from + size);
      return size;
    }
    throw new VmError('EAGAIN', 'copy', 'source and target could not be had at the same time', target);
  }

  /** Calls `visit` with the position of each page's part in the frames, the bytes done before it, and its size. */
  private _pages(
    address: number,
    length: number,
    write: boolean,
    access: string,
    visit: (at: number, done: number, size: number) => void,
    from = 0,
  ): number {
    byteCount(address, 'address', access);
    let done = from;
    try {
      while (done < length) {
        const at = this._translator.translate(address + done, write, access);
        const size = Math.min(length - done, PAGE_SIZE - ((address + done) & PAGE_MASK));
        visit(at, done, size);
        done += size;
      }
    } catch (error) {
      rethrowUnlessPartial(error, access, address + done, done);
    }
    return done;
  }
}

function rethrowUnlessPartial(error: unknown, access: string, address: number, done: number): void {
  const fault = error instanceof SegmentationFault || error instanceof BusError;
  if (!fault || done === 0) throw seenFrom(error, access, address, done);
}

/** A fault may have called a backing, and that may have done anything to the caller's buffer. */
function checkStillThere(bytes: Uint8Array, length: number, access: string): void {
  if (bytes.length !== length) throw new VmError('EINVAL', access, 'the buffer was detached or shrunk during the call');
}
