import * as vm from 'vmspace/browser';

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Rejects after a hang limit. */
async function until(reached) {
  for (let waited = 0; !reached(); waited++) {
    if (waited > 5000) throw new Error('not reached');
    await sleep(10);
  }
}

/** A watched worker that has attached, what it said of itself, and how far it has come. */
async function start(space, life, more = {}) {
  const worker = new Worker('/worker.js', { type: 'module' });
  vm.machineOf(space).watch(worker);
  const steps = new SharedArrayBuffer(4);
  const words = new Int32Array(steps);
  worker.postMessage({ space: space.handle, life, steps, ...more });
  let ended;
  const end = new Promise((done) => {
    ended = done;
  });
  // It may have ended before its caller looks: what it says last is kept.
  const said = await new Promise((done, failed) => {
    worker.onmessage = ({ data }) => ('identity' in data ? done : ended)(data);
    worker.onerror = (event) => failed(new Error(event.message));
  });
  return { ...said, worker, end, steps: () => Atomics.load(words, 0) };
}

/** Each page of it begins with its number, from 1 on. */
function numbered(pages) {
  return new Blob([new Int32Array(pages * 1024).map((_, i) => (i % 1024 === 0 ? i / 1024 + 1 : -1))]);
}

globalThis.lab = { vm, sleep, until, start, numbered };
