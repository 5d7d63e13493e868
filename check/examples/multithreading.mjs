// The blocking mutex and the blocking channel of the package `multithreading`, as they are published.
//   npx vmspace check --module check/examples/multithreading.mjs --transform

// Node 20 has no `navigator`, which the package asks for the number of processors.
globalThis.navigator ??= { hardwareConcurrency: 2 };
const { channel, Mutex, Receiver, Sender } = await import('multithreading');

/** What the package sends to its workers, from which each makes its own object: its symbols for that are not exported. */
const symbolOf = (holder, name) =>
  holder &&
  (Object.getOwnPropertySymbols(holder).find(({ description }) => description === name) ??
    symbolOf(Object.getPrototypeOf(holder), name));
const pack = (object) => object[symbolOf(Object.getPrototypeOf(object), 'Thread.Serialize')]()[0];
const unpack = (type, packed) => type[symbolOf(type, 'Thread.Deserialize')](packed);

const CAPACITY = 2;

export const models = [
  {
    name: 'multithreading-mutex',
    title: 'multithreading: two threads increment a plain counter under its Mutex',
    invariant: 'no increment is lost, no data race, everybody gets the lock',
    preemptions: 6,
    setup: () => ({ counter: new Int32Array(new SharedArrayBuffer(4)), mutex: pack(new Mutex()) }),
    threads: ['a', 'b'].map((name) => ({
      name,
      prepare: ({ counter, mutex }) => ({ counter, mutex: unpack(Mutex, mutex) }),
      run: ({ counter, mutex }) => {
        for (let i = 0; i < 2; i++) {
          const guard = mutex.blockingLock();
          counter[0]++;
          guard.dispose();
        }
        return 0;
      },
    })),
    check: ({ shared }) => {
      if (shared.counter[0] !== 4) throw new Error(`the counter is ${shared.counter[0]}, not 4`);
    },
  },
  {
    name: 'multithreading-channel',
    title: 'multithreading: one thread sends three numbers through a channel for two, another one receives them',
    invariant: 'what is sent is received, once and in order; nobody waits for ever; no data race',
    preemptions: 2,
    granule: 1,
    setup: () => {
      const [sender, receiver] = channel(CAPACITY);
      return { sender: pack(sender), receiver: pack(receiver) };
    },
    threads: [
      {
        name: 'sender',
        prepare: ({ sender }) => unpack(Sender, sender),
        run: (sender) => {
          for (const value of [11, 12, 13]) sender.blockingSend(value);
          return 0;
        },
      },
      {
        name: 'receiver',
        prepare: ({ receiver }) => unpack(Receiver, receiver),
        run: (receiver) => [1, 2, 3].map(() => receiver.blockingRecv().value),
      },
    ],
    outcomes: ['[0,[11,12,13]]'],
  },
];
