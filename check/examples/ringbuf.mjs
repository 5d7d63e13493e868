// The wait-free ring buffer of the package `ringbuf.js` (one producer, one consumer), as it is published.
//   npx vmspace check --module check/examples/ringbuf.mjs --transform
import { RingBuffer } from 'ringbuf.js';

const CAPACITY = 3;

function make() {
  // It has one element more than it can hold.
  return { sab: RingBuffer.getStorageForCapacity(CAPACITY, Int32Array) };
}
const buffer = ({ sab }) => new RingBuffer(sab, Int32Array);

/** Pushes 1 to `count`, a few at a time, as long as there is room. */
function produce(ring, chunks) {
  let sent = 0;
  let next = 1;
  for (const size of chunks) {
    const chunk = Int32Array.from({ length: size }, (_, i) => next + i);
    const pushed = ring.push(chunk);
    sent += pushed;
    next += pushed;
  }
  return sent;
}

function consume(ring, times) {
  const got = [];
  for (let i = 0; i < times; i++) {
    const into = new Int32Array(2);
    const count = ring.pop(into);
    for (let j = 0; j < count; j++) got.push(into[j]);
  }
  return got;
}

const inOrder = ({ results: [sent, ...taken] }) => {
  const got = taken.flat();
  got.forEach((value, i) => {
    if (value !== i + 1) throw new Error(`element ${i + 1} came out as ${value}`);
  });
  if (got.length > sent) throw new Error(`${got.length} elements came out, ${sent} went in`);
};

const names = (_, __, byte) => (byte < 4 ? 'write pointer' : byte < 8 ? 'read pointer' : `element ${(byte - 8) >> 2}`);

export const models = [
  {
    name: 'ringbuf',
    title: 'ringbuf.js: one producer and one consumer, round the end of the buffer',
    invariant: 'what comes out is what went in, in order; no data race',
    preemptions: 6,
    describe: names,
    setup: make,
    threads: [
      { name: 'producer', prepare: buffer, run: (ring) => produce(ring, [2, 2, 2]) },
      { name: 'consumer', prepare: buffer, run: (ring) => consume(ring, 3) },
    ],
    check: inOrder,
  },
  {
    name: 'ringbuf-two-consumers',
    title: 'ringbuf.js outside its contract: two consumers',
    invariant: 'no element comes out twice (the package promises this for one consumer only)',
    preemptions: 2,
    describe: names,
    setup: make,
    threads: [
      { name: 'producer', prepare: buffer, run: (ring) => produce(ring, [2]) },
      { name: 'consumer', prepare: buffer, run: (ring) => consume(ring, 1) },
      { name: 'other', prepare: buffer, run: (ring) => consume(ring, 1) },
    ],
    check: ({ results }) => {
      const got = results.slice(1).flat();
      if (new Set(got).size !== got.length) throw new Error(`an element came out twice: ${JSON.stringify(got)}`);
    },
  },
];
