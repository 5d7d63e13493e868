import * as vm from 'vmspace/browser';

const out = document.getElementById('out');

/** A file that is larger than the machine's memory; a page would take one from an <input type="file">. */
function makeBlob() {
  const line = new TextEncoder().encode(`${'x'.repeat(63)}\n`);
  const block = new Uint8Array(64 * 1024).map((_, i) => line[i % 64]);
  return new Blob(new Array(64).fill(block));
}

async function main() {
  const machine = vm.createMachine({ memory: vm.MiB });
  const blob = makeBlob();
  const file = await vm.openBlob(machine, blob);
  const space = machine.createSpace();
  const data = space.mmap({ length: file.size, prot: vm.PROT_READ, flags: vm.MAP_PRIVATE, file });
  const counts = space.mmap({
    length: 4096,
    prot: vm.PROT_READ | vm.PROT_WRITE,
    flags: vm.MAP_PRIVATE | vm.MAP_ANONYMOUS,
  });
  const half = Math.ceil(file.size / 2);
  await Promise.all(
    [0, 1].map((n) => {
      const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
      machine.watch(worker); // if it dies, what it held is given back
      const end = data + Math.min(file.size, (n + 1) * half);
      worker.postMessage({
        space: space.handle,
        file: file.handle,
        blob,
        start: data + n * half,
        end,
        count: counts + n * 4,
      });
      return new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => (data === 'done' ? resolve() : reject(new Error(data)));
        worker.onerror = (event) => reject(new Error(event.message));
      });
    }),
  );
  const lines = space.load32(counts) + space.load32(counts + 4);
  let blocked = 'nothing';
  try {
    space.load8(data); // the page may be gone from the cache, and this thread must not wait for it
  } catch (error) {
    blocked = error.name;
  }
  await space.populate(data, 4096); // reads the Blob without blocking
  const first = space.load8(data);
  out.textContent = `${lines} newlines in ${file.size} bytes; on this thread: ${blocked}, and after populate ${first}`;
  machine.close();
}

main().then(
  () => out.setAttribute('data-done', 'ok'),
  (error) => {
    out.textContent = `${error.name} ${error.code}: ${error.message}`;
    out.setAttribute('data-done', 'error');
  },
);
