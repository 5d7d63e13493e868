/** The process of one crew: a Worker per modelled thread. It only passes messages on; started by explore.ts. */
import { Worker } from 'node:worker_threads';

import type { BoardMemory } from './engine/board/memory.ts';
import { MAX_THREADS } from './engine/board/places.ts';
import type { ModelSource, Order, Report, ThreadData } from './engine/protocol.ts';
import type { RegionMemory } from './engine/regions.ts';

type Message =
  | Report
  | { readonly type: 'loaded' }
  | {
      readonly type: 'setup';
      readonly memory: BoardMemory;
      readonly shared: unknown;
      readonly regions: readonly RegionMemory[];
      readonly threads: number;
    };

const script = new URL('./thread.worker.js', import.meta.url);
const workers: Worker[] = [];
let loaded = 0;
let threads = MAX_THREADS;

const say = (report: Report): void => {
  process.send?.(report);
};

function start(source: ModelSource, me: number, setup?: Extract<Message, { type: 'setup' }>): void {
  const workerData: ThreadData = { source, me, memory: setup?.memory, shared: setup?.shared, regions: setup?.regions };
  // Each execution makes its objects anew: a larger young generation is collected less often.
  const worker = new Worker(script, { workerData, resourceLimits: { maxYoungGenerationSizeMb: 96 } });
  workers[me] = worker;
  worker.on('message', (message: Message) => {
    if (message.type === 'setup') {
      threads = message.threads;
      for (let other = 1; other < threads; other++) start(source, other, message);
      if (threads === 1) worker.postMessage('go');
    } else if (message.type === 'loaded') {
      if (++loaded === threads - 1) workers[0]?.postMessage('go');
    } else say(message);
  });
  worker.on('error', (error) => say({ type: 'broken', text: `thread ${me}: ${error.stack ?? error.message}` }));
  worker.on('exit', (code) => {
    if (code !== 0) say({ type: 'broken', text: `thread ${me} ended with code ${code}` });
  });
}

process.on('message', (message: Order | { readonly type: 'start'; readonly source: ModelSource }) => {
  if (message.type === 'start') start(message.source, 0);
  else if (message.type === 'quit') process.exit(0);
  else workers[0]?.postMessage(message);
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole group; who started this process decides.
process.on('SIGINT', () => undefined);
