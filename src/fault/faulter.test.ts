/** The loop: what a fault sleeps for, why it starts again, how it fails, and what it gives back whichever way it ends. */
import { describe, expect, test, vi } from 'vitest';
import {
  cached,
  counted,
  faultBench,
  justBefore,
  numberedFile,
  R,
  Thread,
  takeAllFrames,
} from '../../test/faulting.ts';
import { meeting, vpn } from '../../test/kernel.ts';
import { sleeps } from '../../test/support.ts';
import type { Backing } from '../backing/backing.ts';
import { descriptorText } from '../backing/descriptor.ts';
import { pageTryLock, pageUnlock } from '../backing/page-lock.ts';
import { BusError, SegmentationFault, VmError, WouldBlock } from '../base/errors.ts';
import { MAX_OPTIMISTIC_RESTARTS } from '../base/tunables.ts';
import { rcuProtocol } from '../design/rcu.ts';
import { P_FLAGS, P_LOCK, PG_UPTODATE } from '../memory/page.layout.ts';
import { MM_REPLACED } from '../paging/mm.layout.ts';
import { zappedPte } from '../paging/pte.ts';
import { unmapPages } from '../space/unmap.ts';
import { C_REF_VMA } from '../sync/control.layout.ts';
import { DETACHED_REMAPPED, DETACHED_REPLACED } from '../vma/vma.layout.ts';

const PAGE = 100;

/** Has `act` done in the first sleep of a fault, before what it sleeps for. */
function sleeping(act: () => void): typeof rcuProtocol {
  let isDone = false;
  return {
    ...rcuProtocol,
    sleep: (k, mm, vma, sleeper) =>
      rcuProtocol.sleep(k, mm, vma, () => {
        if (!isDone) {
          isDone = true;
          act();
        }
        sleeper();
      }),
  };
}

/** Nothing is in the thread's hands: no section, no lock, no frame, no VMA in the slot. */
function expectNothingInHand(me: Thread): void {
  expect([me.k.rcu.depth, me.k.cpu.heldDepth, me.k.words[me.k.cpu.base + C_REF_VMA]]).toEqual([0, 0, 0]);
  expect(me.k.frames.census()).toMatchObject({ owned: 0 });
}

describe('a fault sleeps', () => {
  test('for a frame, which reclaim brings', () => {
    const bench = faultBench();
    const { me, words } = bench;
    const file = numberedFile(bench, 4096);
    me.map(PAGE, 1);
    words[cached(me.k, file, 0) + P_FLAGS] = PG_UPTODATE; // unused: reclaim takes it
    takeAllFrames(me.k);
    expect(counted(me.k, () => me.fault(PAGE, 'write'))).toEqual({ 'restart.memory': 1, 'fault.anon.write': 1 });
    expect(me.k.cache.find(file, 0)).toBe(0);
    expect(me.mayWrite(PAGE)).toBe(true);
  });

  test('for a page that is to be read, and maps it', () => {
    const bench = faultBench();
    const { me } = bench;
    me.map(PAGE, 1, { mapping: numberedFile(bench, 4096) });
    const counts = counted(me.k, () => me.fault(PAGE, 'read'));
    expect(counts).toEqual({ 'restart.io': 1, 'io.reads': 1, 'io.pages': 1, 'fault.file.read': 1 });
    expect(me.byteAt(PAGE)).toBe(1);
    expectNothingInHand(me);
  });

  test('for a page that another has locked', () => {
    const bench = faultBench();
    const { other } = bench;
    const file = numberedFile(bench, 4096);
    const page = cached(other.k, file, 0);
    pageTryLock(other.k.cpu, page);
    const me = new Thread(
      bench.kernel,
      bench.me.mm,
      sleeping(() => pageUnlock(other.k.cpu, page)),
    );
    me.map(PAGE, 1, { mapping: file });
    const counts = counted(me.k, () => me.fault(PAGE, 'read'));
    expect(counts).toEqual({ 'restart.page-lock': 1, 'cache.hits': 1, 'fault.file.read': 1 });
    expectNothingInHand(me);
  });

  test('for a page table, which comes with the pages of others', () => {
    const bench = faultBench();
    const { me } = bench;
    me.map(PAGE, 1);
    const { slabs, reclaim } = me.k;
    const tables: number[] = [];
    expect(() => {
      for (;;) tables.push(slabs.table.alloc());
    }).toThrow(/ENOMEM/);
    reclaim.makeRoom = () => {
      for (const table of tables.splice(0, 5)) slabs.table.free(table);
    };
    const counts = counted(me.k, () => me.fault(PAGE, 'read'));
    expect(counts).toEqual({ 'restart.table': 1, 'fault.anon.read': 1 });
  });

  test('outside every section and with the VMA named in the slot', () => {
    const bench = faultBench();
    let during: unknown;
    const { kernel, cpu, words } = bench;
    const look = sleeping(() => {
      during = [kernel.rcu.inSection, words[cpu.base + C_REF_VMA]];
    });
    const me = new Thread(kernel, bench.me.mm, look);
    me.map(PAGE, 1, { mapping: numberedFile(bench, 4096) });
    me.fault(PAGE, 'read');
    expect(during).toEqual([false, me.vmaAt(PAGE)]);
    expectNothingInHand(me);
  });

  test('not at all when the VMA is dying: that is a restart, counted as one', () => {
    const bench = faultBench();
    const { kernel } = bench;
    let refusals = 1;
    const me = new Thread(kernel, bench.me.mm, {
      ...rcuProtocol,
      sleep: (...given) => (refusals-- > 0 ? false : rcuProtocol.sleep(...given)),
    });
    me.map(PAGE, 1, { mapping: numberedFile(bench, 4096) });
    const counts = counted(kernel, () => me.fault(PAGE, 'read'));
    expect(counts).toMatchObject({ 'restart.detached': 1, 'restart.io': 1 });
  });
});

describe('after a sleep everything is looked up again (I4)', () => {
  function asleep(act: (bench: ReturnType<typeof faultBench>) => void) {
    const bench = faultBench();
    const me = new Thread(
      bench.kernel,
      bench.me.mm,
      sleeping(() => act(bench)),
    );
    me.map(PAGE, 1, { mapping: numberedFile(bench, 4096) });
    return { ...bench, me };
  }

  test('a mapping that has gone meanwhile is a SEGV, and the page that was read is unlocked', () => {
    const { me } = asleep(({ other }) => unmapPages(other.k, other.mm, vpn(PAGE), vpn(PAGE + 1)));
    const counts = counted(me.k, () => expect(() => me.fault(PAGE, 'read')).toThrow(SegmentationFault));
    expect(counts).toMatchObject({ 'restart.io': 1, 'fault.segv': 1 });
    expectNothingInHand(me);
  });

  test('a mapping of memory that is there instead is what is accessed, and the page that was read is unlocked', () => {
    const { me } = asleep(({ other }) => other.map(PAGE, 1));
    me.fault(PAGE, 'write');
    expect(me.byteAt(PAGE)).toBe(0);
    expectNothingInHand(me);
    for (let pfn = 1; pfn < 20; pfn++) expect(me.k.words[me.k.frames.pageOf(pfn as never) + P_LOCK]).toBe(0);
  });

  test('rights that are gone are ACCERR', () => {
    const { me } = asleep(({ other }) => other.map(PAGE, 1, { flags: R }));
    expect(() => me.fault(PAGE, 'write')).toThrow(/SEGV_ACCERR/);
    expectNothingInHand(me);
  });

  test('a page in hand of a mapping that is gone is unlocked before the next sleep: its reader may wait for us', () => {
    const bench = faultBench();
    const { kernel, other, words } = bench;
    const file = numberedFile(bench, 4096);
    const locks: unknown[] = [];
    const me: Thread = new Thread(kernel, bench.me.mm, {
      ...rcuProtocol,
      sleep: (k, mm, vma, sleeper) =>
        rcuProtocol.sleep(k, mm, vma, () => {
          if (locks.length === 0) other.map(PAGE, 1);
          const page = k.cache.find(file, 0);
          locks.push(page === 0 ? 'not read yet' : words[page + P_LOCK]);
          sleeper();
          takeAllFrames(k);
        }),
    });
    me.map(PAGE, 1, { mapping: file });
    const counts = counted(kernel, () => me.fault(PAGE, 'write'));
    expect(counts).toMatchObject({ 'restart.io': 1, 'restart.memory': 1, 'fault.anon.write': 1 });
    expect(locks).toEqual(['not read yet', 0]);
  });
});

describe('a fault that starts again', () => {
  test('since its page was on its way out counts that each time, until it is gone', () => {
    const { me, other, words } = faultBench();
    me.map(PAGE, 1);
    me.fault(PAGE, 'read');
    const entry = me.entryOf(PAGE);
    words[entry] = zappedPte(0);
    let looks = 0;
    const counts = counted(me.k, () =>
      meeting(
        () => me.fault(PAGE, 'read'),
        (kind, index) => {
          if (kind === 'load' && index === entry && ++looks === 4) words[entry] = 0;
        },
      ),
    );
    expect(counts).toEqual({ 'restart.changed': 3, 'fault.anon.read': 1 });
    expect(other.k.cpu.heldDepth).toBe(0);
  });

  test.each([
    ['many times locks the tree', MAX_OPTIMISTIC_RESTARTS + 1, 1],
    ['as often as it may goes without the lock', MAX_OPTIMISTIC_RESTARTS, undefined],
  ])('%s', (_what, losses, commits) => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    me.fault(PAGE, 'read');
    const entry = me.entryOf(PAGE);
    words[entry] = zappedPte(0);
    let looks = 0;
    const counts = counted(me.k, () =>
      meeting(
        () => me.fault(PAGE, 'read'),
        (kind, index) => {
          if (kind === 'load' && index === entry && ++looks === losses + 1) words[entry] = 0;
        },
      ),
    );
    expect([counts['restart.changed'], counts['fault.tree.commit']]).toEqual([losses, commits]);
  });

  test('for ever ends in ETIMEDOUT at the stall limit, with nothing in hand', () => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    me.fault(PAGE, 'read');
    words[me.entryOf(PAGE)] = zappedPte(0);
    let clock = 1000;
    const now = vi.spyOn(performance, 'now').mockImplementation(() => clock++);
    try {
      expect(() => me.fault(PAGE, 'read')).toThrow(/ETIMEDOUT: a layout operation has not ended for 60 ms/);
    } finally {
      now.mockRestore();
    }
    expectNothingInHand(me);
  });

  test('for long on a thread that must not block is WouldBlock, long before the stall limit', () => {
    const { me, words } = faultBench();
    me.map(PAGE, 1);
    me.fault(PAGE, 'read');
    words[me.entryOf(PAGE)] = zappedPte(0);
    Object.assign(me.k.cpu, { canBlock: false, stallLimit: 1e9 });
    let clock = 1000;
    const now = vi.spyOn(performance, 'now').mockImplementation(() => clock++);
    try {
      expect(() => me.fault(PAGE, 'read')).toThrow(WouldBlock);
    } finally {
      now.mockRestore();
    }
    expectNothingInHand(me);
  });

  test('since its leaf was unhooked, or its page has left the file, counts that', () => {
    const bench = faultBench();
    const { me, other } = bench;
    const file = numberedFile(bench, 4096);
    me.map(PAGE, 1, { mapping: file });
    const page = cached(me.k, file, 0);
    bench.words[page + P_FLAGS] = PG_UPTODATE;
    const truncated = counted(me.k, () =>
      meeting(
        () => me.fault(PAGE, 'read'),
        justBefore('compareExchange', page + P_LOCK, () => other.k.reclaim.run(100)),
      ),
    );
    expect(truncated).toMatchObject({ 'restart.truncated': 1, 'restart.io': 1, 'fault.file.read': 1 });
    me.map(2000, 1);
    me.inSection(() => me.k.tables.ensureLeaf(me.mm, vpn(2000)));
    const leaf = me.leafOf(2000);
    const unhooked = counted(me.k, () =>
      meeting(
        () => me.fault(2000, 'read'),
        justBefore('compareExchange', me.lockOf(2000), () => other.k.tables.tearDownLeaf(leaf)),
      ),
    );
    expect(unhooked).toMatchObject({ 'restart.unhooked': 1, 'fault.anon.read': 1 });
  });
});

describe('a fault that meets MAP_FIXED', () => {
  function remapping() {
    const bench = faultBench();
    const { me } = bench;
    me.map(PAGE, 1);
    me.k.vmas.markDetached(me.vmaAt(PAGE), DETACHED_REMAPPED);
    return bench;
  }

  test('sleeps outside of its section until the count of replacements rises, and never fails (I3)', () => {
    const { me, other, words } = remapping();
    const woken: unknown[] = [];
    const wait = vi.spyOn(Atomics, 'wait').mockImplementation(((_words: Int32Array, at: number, seen: number) => {
      woken.push([at, seen, me.k.rcu.inSection]);
      me.k.vmas.markDetached(me.vmaAt(PAGE), 0);
      other.map(PAGE, 1);
      return 'ok';
    }) as typeof Atomics.wait);
    const before = words[me.mm + MM_REPLACED] as number;
    let counts = {};
    try {
      counts = counted(me.k, () => me.fault(PAGE, 'write'));
    } finally {
      wait.mockRestore();
    }
    expect(woken).toEqual([[me.mm + MM_REPLACED, before, false]]);
    expect(counts).toEqual({ 'restart.detached': 1, 'fault.anon.write': 1 });
    expect(words[me.mm + MM_REPLACED]).toBe(before + 1);
  });

  test('does not sleep when the new root is there already: the count may have risen before it was read', () => {
    const { me, other } = remapping();
    const vma = me.vmaAt(PAGE);
    const asked = sleeps(() =>
      meeting(
        () => me.fault(PAGE, 'write'),
        justBefore('load', me.mm + MM_REPLACED, () => {
          me.k.vmas.markDetached(vma, 0);
          other.map(PAGE, 1);
        }),
      ),
    );
    expect(asked).toEqual([]);
    expect(me.mayWrite(PAGE)).toBe(true);
  });

  test('that never ends is told so at the stall limit', () => {
    const { me } = remapping();
    let thrown: unknown;
    const asked = sleeps(() => {
      try {
        me.fault(PAGE, 'write');
      } catch (error) {
        thrown = error;
      }
    });
    expect(thrown).toMatchObject({ code: 'ETIMEDOUT', syscall: 'write', address: PAGE * 4096 });
    const slept = asked.reduce((sum, milliseconds) => sum + milliseconds, 0);
    expect(slept).toBeGreaterThan(me.k.cpu.stallLimit);
    expectNothingInHand(me);
  });
});

describe('a fault fails', () => {
  test.each([
    ['where nothing is', 'read', PAGE + 3, 'SEGV_MAPERR', 'fault.segv'],
    ['where the rights forbid it', 'write', PAGE, 'SEGV_ACCERR', 'fault.segv'],
    ['behind the end of a file (I20)', 'read', PAGE + 2, 'BUS_ADRERR', 'fault.bus'],
  ] as const)('%s, with reason, caller and address', (_where, access, page, reason, counter) => {
    const bench = faultBench();
    const { me } = bench;
    me.map(PAGE, 3, { mapping: numberedFile(bench, 8192), flags: R });
    let thrown: unknown;
    const counts = counted(me.k, () => {
      try {
        me.fault(page, access);
      } catch (error) {
        thrown = error;
      }
    });
    expect(counts).toEqual({ [counter]: 1 });
    expect(thrown).toMatchObject({ code: 'EFAULT', reason, syscall: access, address: page * 4096 });
    expectNothingInHand(me);
  });

  /** A mapping of a file whose reads throw. */
  function failingRead(error: unknown) {
    const bench = faultBench();
    const read = () => {
      throw error;
    };
    const backing: Backing = { read, close: () => undefined };
    const file = bench.me.k.files.create(descriptorText('failing', {}), 4096, backing);
    bench.me.map(PAGE, 1, { mapping: file });
    return bench;
  }

  test.each([new Error('no such sector'), undefined, new VmError('ETIMEDOUT', 'x', 'the user’s own')])(
    'as a BusError with the cause when the backing throws %s',
    (error) => {
      const { me } = failingRead(error);
      let thrown: unknown;
      const counts = counted(me.k, () => {
        try {
          me.fault(PAGE, 'read');
        } catch (caught) {
          thrown = caught;
        }
      });
      expect(thrown).toBeInstanceOf(BusError);
      expect((thrown as BusError).cause).toBe(error);
      expect(counts).toMatchObject({ 'fault.bus': 1, 'restart.io': 1, 'io.errors': 1 });
      expectNothingInHand(me);
    },
  );

  test.each([
    ['ETIMEDOUT', 'a wait', false],
    ['EWOULDBLOCK', 'a wait', false],
    ['ENOMEM', 'no frame', false],
    ['EIO', 'an answer that will not do', true],
  ] as const)('by %s of a fetch: %s is a BusError: %s', (code, detail, isBus) => {
    const bench = faultBench();
    const { me } = bench;
    me.map(PAGE, 1, { mapping: numberedFile(bench, 4096) });
    const error = new VmError(code, 'read', detail);
    me.k.files.fetch = () => {
      throw error;
    };
    const counts = counted(me.k, () => {
      if (isBus) expect(() => me.fault(PAGE, 'read')).toThrow(BusError);
      else expect(() => me.fault(PAGE, 'read')).toThrow(error);
    });
    expect(counts['fault.bus']).toBe(isBus ? 1 : undefined);
    expectNothingInHand(me);
  });

  test('as it is when no memory is to be had: that is no failure of a file', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    const taken = takeAllFrames(me.k);
    expect(() => me.fault(PAGE, 'write')).toThrow(/^ENOMEM/);
    for (const error of [new VmError('EIO', 'read', 'of whatever room')]) {
      me.k.reclaim.obtainFrame = () => {
        throw error;
      };
      expect(() => me.fault(PAGE, 'write')).toThrow(error);
    }
    expect(me.k.rcu.depth).toBe(0);
    for (const pfn of taken) me.k.frames.free(pfn);
    expectNothingInHand(me);
  });

  test('with EAGAIN when others take each time what it has waited for', () => {
    const { me } = faultBench();
    me.map(PAGE, 1);
    me.k.frames.alloc = () => 0 as never;
    me.k.reclaim.obtainFrame = () => 0 as never;
    const counts = counted(me.k, () => expect(() => me.fault(PAGE, 'write')).toThrow(/EAGAIN: after 10000 waits/));
    expect(counts).toEqual({ 'restart.memory': 10_000 });
  });
});

test.each([
  ['is done', 'done'],
  ['fails', 'failed'],
])('a frame that a fault has not needed is free again when it %s', (_how, how) => {
  const { me, other } = faultBench();
  me.map(PAGE, 1);
  me.inSection(() => me.k.tables.ensureLeaf(me.mm, vpn(PAGE)));
  const lock = me.lockOf(PAGE);
  const act = (): void => {
    if (how === 'done') other.fault(PAGE, 'write');
    else {
      me.k.vmas.markDetached(me.vmaAt(PAGE), DETACHED_REPLACED);
      unmapPages(other.k, other.mm, vpn(PAGE), vpn(PAGE + 1));
    }
  };
  const fault = (): boolean => meeting(() => me.fault(PAGE, 'write'), justBefore('compareExchange', lock, act));
  if (how === 'done') expect(fault()).toBe(true);
  else expect(fault).toThrow(/SEGV_MAPERR/);
  expectNothingInHand(me);
});

test('a protocol is told of begin and end, also of a fault that fails', () => {
  const { kernel, me: first } = faultBench();
  const told: string[] = [];
  const me = new Thread(kernel, first.mm, {
    ...rcuProtocol,
    begin: () => told.push('begin'),
    end: () => told.push('end'),
  });
  me.map(PAGE, 1);
  me.fault(PAGE, 'read');
  expect(() => me.fault(PAGE + 1, 'read')).toThrow(/SEGV/);
  expect(told).toEqual(['begin', 'end', 'begin', 'end']);
});
