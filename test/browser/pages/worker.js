import * as vm from 'vmspace/browser';

/** Attaches, stores what it is told, says who it is, and goes on as it is told. */
self.onmessage = async ({ data: { space: handle, life, file, blob, steps } }) => {
  const space = vm.attachSpace(handle);
  const machine = vm.machineOf(space);
  if (life !== 'at once') await machine.watchable();
  const at = space.mmap({ length: 4096, prot: 3, flags: vm.MAP_PRIVATE | vm.MAP_ANONYMOUS });
  space.store32(at, 77);
  if (life === 'scan') {
    const mapped = vm.attachBlob(machine, file, blob);
    const data = space.mmap({ length: mapped.size, prot: vm.PROT_READ, flags: vm.MAP_PRIVATE, file: mapped });
    self.postMessage({ at, identity: machine.identity });
    let wrong = 0;
    try {
      for (let round = 0; round < 3; round++) {
        space.run((memory) => {
          for (let i = 0; i < mapped.size; i += 4096) if (memory.load32(data + i) !== i / 4096 + 1) wrong++;
        });
      }
    } catch (error) {
      wrong = String(error);
    }
    machine.close();
    self.postMessage({ wrong });
    return;
  }
  self.postMessage({ at, identity: machine.identity });
  const raw = new Int32Array(steps);
  if (life === 'accesses' || life === 'at once') for (;;) Atomics.store(raw, 0, space.add32(at + 4, 1));
  if (life === 'run') {
    space.run((memory) => {
      for (;;) Atomics.store(raw, 0, memory.add32(at + 4, 1));
    });
  }
  if (life === 'section')
    space.run(() => {
      for (;;) Atomics.add(raw, 0, 1);
    });
  if (life === 'asleep') space.wait(at, 77);
};
