/**
 * Recognises a spin that does not say so: a round of up to eight reads that has found the same values three times over. Nothing but
 * another thread's write can end it, so the thread may as well let the others run.
 */
const LONGEST = 8;
const ROUNDS = 3;

export class SpinWatch {
  private readonly _recent = new Int32Array(16);
  /** Per period: how many accesses in a row were the same as the one a period before. */
  private readonly _repeats = new Int32Array(LONGEST + 1);
  private _at = 0;

  /** A new execution: nothing of the last one counts. */
  clear(): void {
    this._recent.fill(0);
    this._at = 0;
    this.reset();
  }

  /** A write: whatever was read before may have changed. */
  reset(): void {
    this._repeats.fill(0);
  }

  /** Notes a read. True if the thread spins. */
  read(kind: string, address: number, value: number | bigint): boolean {
    const low = typeof value === 'number' ? value | 0 : Number(BigInt.asIntN(32, value));
    const hash = (Math.imul(address, 0x9e3779b1) ^ Math.imul(low, 0x85ebca6b) ^ kind.charCodeAt(0)) | 0;
    const at = (this._at + 1) & 15;
    this._at = at;
    let spins = false;
    for (let period = 1; period <= LONGEST; period++) {
      if (this._recent[(at - period) & 15] === hash) {
        const repeats = (this._repeats[period] as number) + 1;
        this._repeats[period] = repeats;
        if (repeats >= period * ROUNDS) spins = true;
      } else this._repeats[period] = 0;
    }
    this._recent[at] = hash;
    if (spins) this._repeats.fill(0);
    return spins;
  }
}
