import * as vm from 'vmspace/browser';

const out = document.getElementById('out');

/** A worker that counts in the shared page without ever looking up; resolves when it is about to begin. */
function startCounting(machine, space, page) {
  const worker = new Worker(new URL('./terminate-worker.js', import.meta.url), { type: 'module' });
  machine.watch(worker); // when its script can run no more, what it held is given back
  worker.postMessage({ space: space.handle, page });
  return new Promise((resolve, reject) => {
    worker.onmessage = () => resolve(worker);
    worker.onerror = (event) => reject(new Error(event.message));
  });
}

async function until(reached) {
  while (!reached()) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function main() {
  const machine = vm.createMachine({ memory: vm.MiB });
  const space = machine.createSpace();
  const page = space.mmap({
    length: 4096,
    prot: vm.PROT_READ | vm.PROT_WRITE,
    flags: vm.MAP_PRIVATE | vm.MAP_ANONYMOUS,
  });
  space.store32(page, 0); // on this thread, which must not wait for memory later

  const first = await startCounting(machine, space, page);
  await until(() => space.load32(page) > 0);
  first.terminate(); // it is busy: the browser lets it run on for seconds
  await until(() => machine.cpus().length === 1); // reaped: it runs no more, and its place is free
  const reached = space.load32(page);

  const second = await startCounting(machine, space, page);
  await until(() => space.load32(page) > reached);
  second.terminate();
  out.textContent = 'terminated, reaped, and another worker counted on from there';
  machine.close();
}

main().then(
  () => out.setAttribute('data-done', 'ok'),
  (error) => {
    out.textContent = `${error.name} ${error.code}: ${error.message}`;
    out.setAttribute('data-done', 'error');
  },
);
