import { once } from 'node:events';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import * as vm from 'vmspace/node';

const NEWLINE = 10;

if (isMainThread) {
  const machine = vm.createMachine({ memory: 16 * vm.MiB }); // 16 MiB of frames, however large the file
  try {
    const file = await vm.openFile(machine, process.argv[2] ?? process.execPath);
    const space = machine.createSpace();
    const data = space.mmap({ length: file.size, prot: vm.PROT_READ, flags: vm.MAP_PRIVATE, file });
    const counts = space.mmap({
      length: 4096,
      prot: vm.PROT_READ | vm.PROT_WRITE,
      flags: vm.MAP_PRIVATE | vm.MAP_ANONYMOUS,
    });
    const half = Math.ceil(file.size / 2);
    const workers = [0, 1].map((n) => {
      const part = { start: data + n * half, end: data + Math.min(file.size, (n + 1) * half), count: counts + n * 4 };
      const worker = new Worker(new URL(import.meta.url), { workerData: { space: space.handle, ...part } });
      machine.watch(worker); // if it dies, what it held is given back
      return once(worker, 'exit');
    });
    await Promise.all(workers);
    const lines = space.run((memory) => memory.load32(counts) + memory.load32(counts + 4));
    console.log(`${lines} newlines in ${file.size} bytes, read by two threads through 16 MiB`);
  } finally {
    machine.close();
  }
} else {
  const { space: handle, start, end, count } = workerData;
  const space = vm.attachSpace(handle); // attaches this thread to the machine, too
  try {
    space.run((memory) => {
      let lines = 0;
      for (let at = start; at < end; at++) if (memory.load8(at) === NEWLINE) lines++;
      memory.store32(count, lines);
    });
  } finally {
    space.close(); // the last space that the thread has open: it leaves the machine
  }
}
