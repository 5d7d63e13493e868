/**
 * What hostile programs run against: a machine with two cpus. The first is the hostile caller's. The second belongs to another
 * instance of the library in the same thread, and has a space that no hostile code is ever handed: what happens to it is damage.
 */
import { vi } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { MappedFile } from '../../src/machine/mapped-file.ts';
import { Space } from '../../src/machine/space.ts';
import {
  type Accessor,
  attachMachine,
  type Backing,
  createMachine,
  type DesignName,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
  registerBacking,
} from '../../src/node.ts';
import { H_POISON } from '../../src/sync/control.layout.ts';
import { collectMachines, inUse, PAGE, PRIVATE, pattern, RW } from '../support.ts';

type Instance = typeof import('../../src/index.ts');

/** Another instance of the library: its threads' objects and its classes are others. */
export async function secondInstance(): Promise<Instance> {
  vi.resetModules();
  return await import('../../src/index.ts');
}

export const KIND = 'hostile-good';
const PAGES = 6;
const FILE_PAGES = 4;
const GUARD_PAGES = 8;
const MEMORY = pattern((PAGES + 1) * PAGE, 5);
const FILE = pattern(FILE_PAGES * PAGE - 100, 9);
const GUEST = pattern(2 * PAGE, 6);
const GUARD = pattern(GUARD_PAGES * PAGE, 77);
const ORDINARY = pattern(PAGE, 3);

registerBacking(KIND, (_options, size) => goodBacking(size));

export function goodBacking(size: number): Backing {
  const bytes = size === FILE.length ? FILE : pattern(size, 9);
  return {
    read(position, targets) {
      let at = position;
      for (const target of targets) {
        const part = bytes.subarray(at, at + target.length);
        target.set(part);
        at += part.length;
      }
      return at - position;
    },
    close: () => undefined,
  };
}

/** What the caller's code does when it is called where the library expects none. */
export type Reentry = (world: World) => void;

export interface WorldOptions {
  readonly design?: DesignName;
  readonly memory?: number;
  readonly path: string;
}

export class World {
  machine: Machine;
  space!: Space;
  /** Another space of the hostile cpu. */
  guest!: Space;
  file!: MappedFile;
  /** The file with a hostile backing, and where it is mapped. */
  hostileFile!: MappedFile;
  hostileAt = 0;
  hostileMapped = false;
  /** In bytes: with little memory, more than fits. */
  readonly hostileSize: number;
  /** Names its backing. */
  hostileId = 0;
  accessor!: Accessor;
  /** Six pages, all written; behind them one that can only be read, then a hole. */
  at = 0;
  fileAt = 0;
  guestAt = 0;
  /** A file of the host, for `openFile`. */
  readonly path: string;
  /** What the caller's code does when it gets to run, and whether it did. */
  reentry: Reentry = () => undefined;
  reentered = 0;
  /** What the caller's code threw: it may come out of a call as it is. */
  readonly tossed: unknown[] = [];
  /** Calls from within that have not ended. */
  readonly pending: Promise<unknown>[] = [];
  /** What went wrong in calls from within. */
  readonly complaints: string[] = [];
  /** Whether the caller's code that runs now is a backing's. */
  inBacking = false;
  private readonly _other: Machine;
  private readonly _guard: Space;
  private readonly _guardAt: number;
  private readonly _made: (Space | MappedFile | Machine)[] = [];
  private readonly _calm: Record<string, unknown>;
  private _inside = false;

  constructor(instance: Instance, { design = 'rcu', memory = 256 * PAGE, path }: WorldOptions) {
    collectMachines();
    this.path = path;
    this.hostileSize = memory < 128 * PAGE ? 60 * PAGE : 3 * PAGE - 10;
    this.machine = createMachine({ memory, design, stallTimeout: 300, ioTimeout: 300 });
    this._other = instance.attachMachine(this.machine.handle) as Machine;
    this._guard = this._other.createSpace();
    this._guardAt = this._guard.mmap({ length: GUARD.length, prot: RW, flags: PRIVATE });
    this._guard.write(this._guardAt, GUARD);
    this._settle();
    this._calm = inUse(this.machine);
    this._furnish();
  }

  private _furnish(): void {
    const { machine } = this;
    this.space = machine.createSpace();
    this.guest = machine.createSpace();
    this.file = machine.createFile(KIND, { any: [1, 'thing'] }, FILE.length);
    this.at = this.space.mmap({ length: MEMORY.length, prot: RW, flags: PRIVATE });
    this.space.write(this.at, MEMORY);
    this.space.mprotect(this.at + PAGES * PAGE, PAGE, PROT_READ);
    this.fileAt = this.space.mmap({ length: this.file.size, prot: PROT_READ, flags: MAP_PRIVATE, file: this.file });
    this.space.read(this.fileAt, new Uint8Array(this.file.size));
    this.guestAt = this.guest.mmap({ length: GUEST.length, prot: RW, flags: PRIVATE });
    this.guest.write(this.guestAt, GUEST);
    this.space.run((memory) => {
      this.accessor = memory;
    });
  }

  /** A file that another thread has made, and that this one is the only one to have open. */
  attachedFile(kind: string, options: unknown, size: number): MappedFile {
    const theirs = this._other.createFile(kind, options, size);
    const file = this.machine.attachFile(theirs.handle);
    theirs.close();
    this.keep(file);
    return file;
  }

  /** Runs the caller's code for `reentry`, once at a time. */
  enter(): void {
    if (this._inside) return;
    this._inside = true;
    this.reentered++;
    try {
      this.reentry(this);
    } finally {
      this._inside = false;
    }
  }

  /** To be thrown by the caller's code. */
  toss<T>(value: T): T {
    this.tossed.push(value);
    return value;
  }

  /** Has what a call made closed with everything else. */
  keep(value: unknown): void {
    const ours = [Space, MappedFile, Machine].some((made) => isA(made, value));
    if (ours && value !== this.machine) this._made.push(value as Space);
  }

  /** Everything that a failed call must leave as it was. */
  snapshot(): string {
    const same = [
      holds(this.space, this.at, MEMORY),
      holds(this.space, this.fileAt, FILE),
      holds(this.guest, this.guestAt, GUEST),
    ];
    this._settle();
    const cpus = this.machine.cpus().length;
    const layout = [this.space.maps(), this.guest.maps(), this.space.sequence()];
    return JSON.stringify([layout, same, inUse(this.machine), cpus]);
  }

  /** What must hold after any call, whatever it did: the complaints. */
  inspect(): string[] {
    const complaints = this.complaints.splice(0);
    const say = (text: string): number => complaints.push(text);
    const { words, rcu, cpu } = this.machine.kernel;
    if (words[H_POISON] !== 0) say('the machine is poisoned');
    if (!this.machine.closed) {
      if (rcu.depth !== 0 || rcu.suspendedDepth !== 0) say(`in ${rcu.depth}+${rcu.suspendedDepth} sections`);
      if (cpu.heldDepth !== 0) say(`holds ${cpu.heldDepth} locks`);
    }
    const cpus = this._other.cpus().length;
    const mine = new Set([this.machine, ...this._made.filter((made) => made instanceof Machine)]);
    const open = [...mine].filter(({ closed, handle }) => !closed && sameMachine(handle, this._other.handle));
    if (cpus !== open.length + 1) say(`${cpus} cpus in use, not ${open.length + 1}`);
    attempt(say, 'on another cpu', () => {
      if (!holds(this._guard, this._guardAt, GUARD)) say("another space's memory has changed");
      ordinary(this._guard);
    });
    return complaints;
  }

  /** Closes what there is, makes it anew, and sees that nothing was lost. The complaints. */
  reset(): string[] {
    const complaints: string[] = [];
    const say = (text: string): number => complaints.push(text);
    this.reentry = () => undefined;
    attempt(say, 'closing', () => this._closeAll());
    attempt(say, 'coming back', () => {
      if (this.machine.closed) this.machine = attachMachine(this._other.handle);
    });
    attempt(say, 'on the same thread', () => {
      const space = this.machine.createSpace();
      ordinary(space);
      space.close();
      this._settle();
      const left = JSON.stringify(inUse(this.machine));
      if (left !== JSON.stringify(this._calm)) say(`left over: ${left} instead of ${JSON.stringify(this._calm)}`);
    });
    this.tossed.length = 0;
    this.reentered = 0;
    if (complaints.length === 0) this._furnish();
    return complaints;
  }

  /** The end: everything closed, and everything that was allocated has come back. */
  finish(): string[] {
    const complaints = this.reset();
    const say = (text: string): number => complaints.push(text);
    attempt(say, 'at the end', () => {
      this._closeAll();
      this.machine.close();
      this._guard.close();
      this._other.drain();
      const { frames, ...rest } = this._other.census();
      if (frames.live + frames.owned + frames.retired !== 0) say(`frames left over: ${JSON.stringify(frames)}`);
      if (rest.spaces !== 0 || rest.file.live !== 0) say(`left over: ${JSON.stringify(rest)}`);
      const counters = this._other.counters();
      if (counters['frames.allocated'] !== counters['frames.freed']) say('frames allocated and freed differ');
      this._other.close();
    });
    return complaints;
  }

  private _closeAll(): void {
    for (const thing of this._made.splice(0)) thing.close();
    this.file.close();
    this.space.close();
    this.guest.close();
  }

  /** Both cpus give back what they have put aside. */
  private _settle(): void {
    this._other.drain();
    this.machine.drain();
  }
}

/** A program that has nothing to do with hostile ones. Throws if anything is amiss. */
export function ordinary(space: Space): void {
  const at = space.mmap({ length: 3 * PAGE, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
  space.write(at + 100, ORDINARY);
  if (!holds(space, at + 100, ORDINARY)) throw new Error('other bytes were read than written');
  space.mprotect(at, PAGE, PROT_READ);
  const seen = space.run((memory) => {
    memory.store32(at + PAGE, 41);
    memory.add32(at + PAGE, 1);
    return memory.load32(at + PAGE);
  });
  if (seen !== 42) throw new Error(`${seen} was read instead of 42`);
  if (space.notify(at, 1) !== 0) throw new Error('somebody waits');
  space.munmap(at, 3 * PAGE);
  let code = '';
  try {
    space.load8(at);
  } catch (error) {
    code = (error as { code: string }).code;
  }
  if (code !== 'EFAULT') throw new Error('what was unmapped can be read');
  space.validate();
}

function attempt(say: (text: string) => unknown, where: string, run: () => void): void {
  try {
    run();
  } catch (error) {
    say(`${where}: ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`);
  }
}

function sameMachine(a: { readonly control?: unknown }, b: { readonly control?: unknown }): boolean {
  return a.control === b.control;
}

/** `instanceof`, for what may be a Proxy. */
function isA(made: { readonly prototype: object }, value: unknown): boolean {
  try {
    return Object.prototype.isPrototypeOf.call(made.prototype, value as object);
  } catch {
    return false;
  }
}

function holds(space: Space, at: number, bytes: Uint8Array): boolean {
  const got = new Uint8Array(bytes.length);
  return space.read(at, got) === bytes.length && Buffer.compare(got, bytes) === 0;
}
