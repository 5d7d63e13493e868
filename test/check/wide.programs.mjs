// Small random programs over words that threads touch as 8, 32 and 64 bits, with waits, time limits and notifies. Loaded through the transform.
const PROGRAMS = 100;
const KINDS = [
  ...['load', 'load', 'store', 'store', 'add', 'exchange', 'cas', 'load8', 'store8', 'load64', 'store64'],
  ...['wait', 'notify', 'wait64'],
];

function randomOf(seed) {
  let x = ((seed + 1) * 0x9e3779b1) | 0;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

function perform({ words, bytes, wide }, [kind, word, value]) {
  switch (kind) {
    case 'load':
      return Atomics.load(words, word);
    case 'store':
      return Atomics.store(words, word, value) && 's';
    case 'add':
      return Atomics.add(words, word, value);
    case 'exchange':
      return Atomics.exchange(words, word, value);
    case 'cas':
      return Atomics.compareExchange(words, word, value - 1, value);
    case 'load8':
      return Atomics.load(bytes, word * 4);
    case 'store8':
      return Atomics.store(bytes, word * 4 + 1, value) && 's';
    case 'load64':
      return String(Atomics.load(wide, 0));
    case 'store64':
      return Atomics.store(wide, 0, (BigInt(value) << 33n) | BigInt(value)) && 's';
    case 'wait':
      return Atomics.wait(words, word, 0, 5);
    case 'notify':
      return Atomics.notify(words, word, 1);
    default:
      return Atomics.wait(wide, 0, 0n, 5);
  }
}

export const models = Array.from({ length: PROGRAMS }, (_, seed) => {
  const random = randomOf(seed + 1000);
  const threads = 2 + random(2);
  const length = threads === 2 ? 4 : 3;
  const program = Array.from({ length: threads }, () =>
    Array.from({ length }, () => [KINDS[random(KINDS.length)], random(2), 1 + random(2)]),
  );
  return {
    name: `wide-${seed}`,
    title: JSON.stringify(program),
    invariant: 'none: its outcomes are compared',
    preemptions: 2,
    granule: 1,
    timeouts: 'allow',
    setup() {
      const memory = new SharedArrayBuffer(32);
      return { words: new Int32Array(memory), bytes: new Uint8Array(memory), wide: new BigInt64Array(memory) };
    },
    threads: program.map((steps, thread) => ({
      name: 'abc'[thread],
      run: (shared) => steps.map((step) => perform(shared, step)),
    })),
  };
});
