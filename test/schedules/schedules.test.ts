/**
 * Races that were there once. Each schedule is forced through the checked port, with several cpus on one thread, and told beside
 * its code. A broken rule can be an endless loop: a schedule that does not end in time is terminated, and has failed.
 */
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { inTime } from '../hang.ts';
import type { Schedule } from './schedules.checked.worker.ts';

const WORKER = resolve(import.meta.dirname, '../../dist-test/test/schedules/schedules.checked.worker.js');

/** What became of the schedule. Rejects when it throws or does not come to an end. */
async function play(schedule: Schedule): Promise<unknown> {
  const worker = new Worker(WORKER, { workerData: schedule });
  try {
    const result = new Promise((done, failed) => {
      worker.once('message', done);
      worker.once('error', failed);
      worker.once('exit', (code) => failed(new Error(`${schedule} exits with ${code}`)));
    });
    return await inTime(`the end of ${schedule}`, result);
  } finally {
    await worker.terminate();
  }
}

describe('translations', () => {
  test('an munmap waits for a fault that is about to install the first page of an empty leaf', async () => {
    expect(await play('unmapBesideFirstFault')).toMatch(/has held leaf lock/);
  });

  test('an mprotect waits for a fault that is about to install the first page of an empty leaf', async () => {
    expect(await play('protectBesideFirstFault')).toMatch(/has held leaf lock/);
  });

  test('an munmap that was overtaken by reclaim touches no other space', async () => {
    expect(await play('unmapOvertakenByReclaim')).toEqual({ unmapped: 'SEGV_MAPERR', untouched: 0x77 });
  });

  test('a bump that was overtaken by a whole round of the ring hides no range from a reader', async () => {
    expect(await play('bumpOvertakenByRound')).toEqual({ rounds: 1, during: 'SEGV_MAPERR', after: 'SEGV_MAPERR' });
  });
});

describe('a thread that dies between an entry and its bump', () => {
  test('while it upgrades a zero page: a reader that has that one cached sees what is written there later', async () => {
    expect(await play('upgradeDiesBeforeBump')).toEqual({ before: 0, reaped: true, after: 5 });
  });

  test('while it reclaims a page: a reader that has it cached sees nothing of what its frame is used for later', async () => {
    expect(await play('reclaimDiesBeforeBump')).toEqual({ reaped: true, reused: true, after: 0 });
  });
});

describe('pages of files', () => {
  test('a fault whose file goes while it reads the last page of it ends', async () => {
    expect(await play('lastMappingGoesDuringRead')).toBe('SEGV_MAPERR');
  });

  test('a fault does not sleep for a frame with the lock of a page that is not of its mapping any more', async () => {
    // The mapper waits for the page that is being read, which here cannot go on before it has given up.
    expect(await play('mappingChangesDuringRead')).toEqual({ filled: 'ETIMEDOUT', stored: 'done', value: 5 });
  });

  test('a wait for a page whose reader has died ends in ETIMEDOUT, and the page can be read once the reader is reaped', async () => {
    expect(await play('readerDies')).toEqual({ before: 'ETIMEDOUT', reaped: true, after: 0 });
  });
});

describe('a call that gives up because of a dead thread', () => {
  test.each(['giveUpReading', 'giveUpWriting', 'giveUpUnmapping'] as const)(
    'with a page table in hand leaves nothing behind once that one is reaped (%s)',
    async (schedule) => {
      expect(await play(schedule)).toEqual({
        outcomes: ['ETIMEDOUT', 'done', 'done'],
        reads: true,
        problems: [],
      });
    },
  );

  test('leaves no note of the page locks that it held', async () => {
    expect(await play('notesOfPageLocks')).toEqual({
      outcomes: ['ETIMEDOUT', 'done'],
      before: 1,
      after: 0,
      problems: [],
    });
  });

  test('may be what its thread dies of, too, while it finishes it', async () => {
    expect(await play('diesWhileItFinishes')).toEqual({ reaped: [true, true], reads: true, cpus: 1, problems: [] });
  });

  test('leaves no intent that a later death would carry out', async () => {
    expect(await play('intentEndsWithItsCall')).toEqual({
      outcomes: ['ETIMEDOUT', 'done', 'done', 'done'],
      value: 77,
      problems: [],
    });
  });

  test('ends also when that one has died in reclaim, and its page is of a file that goes', async () => {
    expect(await play('dropBesideDeadReclaim')).toEqual({ outcomes: ['ETIMEDOUT', 'done'], problems: [] });
  });

  test('leaves the queue of mmap_lock, so that nobody hands it the lock', async () => {
    expect(await play('leaveQueueOfTheDead')).toEqual({
      outcomes: ['ETIMEDOUT', 'done', 'done', 'done', 'done'],
      waits: true,
      problems: [],
    });
  });

  test('is finished by others when its thread leaves the machine', async () => {
    expect(await play('reaperGoesHalfWay')).toEqual({
      outcomes: ['ETIMEDOUT', 'done', 'done', 'done'],
      cpus: 1,
      problems: [],
    });
  });

  test('is finished by others when its thread leaves and a lock is in the way that a thread keeps which lives', async () => {
    expect(await play('leavesBesideSlowThread')).toEqual({
      outcomes: ['done'],
      reaped: true,
      cpus: 1,
      problems: [],
    });
  });

  test('or goes on without the lock over its retire lists keeps no memory from others', async () => {
    expect(await play('retiresBesideDeadThief')).toEqual({
      outcomes: ['done', 'done'],
      before: 12,
      reaped: true,
      after: 0,
      problems: [],
    });
  });

  test('only after it has done its work does not fail', async () => {
    expect(await play('unmapsBesideDeadPool')).toEqual({
      unmapped: 'done',
      gaveUp: true,
      isMapped: false,
      reaped: true,
      problems: [],
    });
  });

  test('and what it has retired beside its lists is nobody’s twice, wherever a thread dies that takes it over', async () => {
    const { tried, problems } = (await play('thievesOfLateObjectsDie')) as { tried: number; problems: string[] };
    expect(problems).toEqual([]);
    expect(tried).toBeGreaterThan(50);
  });

  test('may be the last to close a space, which then goes with the reaping', async () => {
    expect(await play('lastCloseBesideDeath')).toEqual({
      before: 2,
      outcomes: ['done', 'done'],
      after: 0,
      problems: [],
    });
  });
});

describe('whoever finishes calls that have given up', () => {
  test.each([['intentOfMunmap'], ['intentOfFixed'], ['intentOfClose']] as const)(
    'does not mistake another one’s operation for his own (%s)',
    async (schedule) => {
      expect(await play(schedule)).toMatchObject({ reaped: true, left: 0, stale: 0, below: 0 });
    },
  );

  test('keeps nothing of others while somebody is at his own call', async () => {
    expect(await play('takesNothingAlong')).toMatchObject({ after: ['done', 'done', 'done'], left: 0 });
  });

  test('is not asked again by whoever has reaped meanwhile', async () => {
    expect(await play('reapsInOthersHands')).toMatchObject({ spaces: 1, cpus: 2 });
  });

  test('may be anybody who wants what an idle thread has kept', async () => {
    expect(await play('idleThreadKeepsLock')).toMatchObject({ left: 0, mapped: false });
    const { outcomes, ...rest } = (await play('idleThreadKeepsMemory')) as { outcomes: string[] };
    expect([outcomes, rest]).toEqual([['ETIMEDOUT', 'done'], { wasShort: true, left: 0 }]);
  });

  test('may be anybody who reads a page that an idle thread has kept, and he reads it then', async () => {
    const outcomes = ['ETIMEDOUT', 'done'];
    expect(await play('idleThreadKeepsPage')).toEqual({ outcomes, isKept: true, isRight: true, left: 0 });
  });

  test('is nobody whose call fails for another reason', async () => {
    const outcomes = ['ETIMEDOUT', 'ENOMEM'];
    expect(await play('holeIsNoShortage')).toEqual({ outcomes, gaveUp: false, attached: true });
  });

  test('does not begin what a slow thread’s lock stands in the way of', async () => {
    const outcomes = ['ETIMEDOUT', 'ENOMEM', 'done', 'free', 'done'];
    expect(await play('helpIsNotCatching')).toEqual({ outcomes, left: 0 });
    const watched = ['ETIMEDOUT', 'done', 'free', 'done'];
    expect(await play('watcherIsNotCaught')).toEqual({ outcomes: watched, spaces: 1, cpus: 2 });
  });

  test('is told by the exit of a thread that has left work behind', async () => {
    const outcomes = ['ETIMEDOUT', 'done', 'reaped 1'];
    expect(await play('leftIsBuriedByItsExit')).toEqual({ outcomes, states: [2, 0] });
  });

  test('may be who wants a space, when a thread has left one unfinished', async () => {
    expect(await play('spaceOfTheIdle')).toEqual({ outcomes: ['done'], left: 0, spaces: 64 });
  });

  test('owes the grace period still, when it protects once more', async () => {
    expect(await play('protectWaitsAgain')).toEqual({ outcomes: ['ETIMEDOUT', 'ETIMEDOUT', 'done'] });
  });

  test('takes a space down that was never handed out', async () => {
    const { outcomes, ...rest } = (await play('createGivesUp')) as { outcomes: string[] };
    expect([outcomes[0], outcomes.at(-1), rest]).toEqual(['ETIMEDOUT', 'done', { spaces: 0, problems: [] }]);
  });

  test('closes a file once, and not the one that has its place afterwards', async () => {
    expect(await play('fileClosedOnce')).toMatchObject({ lives: 'done', open: 1 });
  });
});

describe('threads that come and go', () => {
  test('get a slot whose retire lists another thread has locked, and the lock is that one’s until it lets go', async () => {
    expect(await play('attachBesideFreeing')).toEqual({
      sameSlot: true,
      held: true,
      outcomes: ['done', 'done'],
      problems: [],
    });
  });

  test.each([
    ['backingClosesWithFile', 'EDEADLK'],
    ['backingClosesWithMachine', 'done'],
  ] as const)('leave once, also when a backing that is closed closes the machine (%s)', async (schedule, outcome) => {
    const { outcomes, cpus } = (await play(schedule)) as { outcomes: string[]; cpus: number[] };
    expect(outcomes).toEqual([outcome]);
    expect(new Set(cpus).size).toBe(3);
  });
});

describe('deaths', () => {
  test('a reaping that needed the lock of another dead thread goes on with that one’s', async () => {
    expect(await play('twoDeathsAtOnce')).toEqual({
      outcomes: ['ETIMEDOUT', 'done'],
      meanwhile: 'ETIMEDOUT',
      again: false,
      mapped: ['done', 'done'],
    });
  });

  test('a death can be reaped beside more spaces than a thread can hold locks', async () => {
    expect(await play('deathBesideManySpaces')).toEqual({ reaped: true, again: false });
  });

  test('of a thread that is leaving are found by its number, wherever it dies', async () => {
    const { tried, problems } = (await play('diesWhileItLeaves')) as { tried: number; problems: string[] };
    expect(problems).toEqual([]);
    expect(tried).toBeGreaterThan(50);
  });
});
