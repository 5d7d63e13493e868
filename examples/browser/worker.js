import * as vm from 'vmspace/browser';

const NEWLINE = 10;

self.onmessage = ({ data: { space: handle, file, blob, start, end, count } }) => {
  try {
    const space = vm.attachSpace(handle);
    const machine = vm.machineOf(space);
    try {
      vm.attachBlob(machine, file, blob);
      space.run((memory) => {
        let lines = 0;
        for (let at = start; at < end; at++) if (memory.load8(at) === NEWLINE) lines++;
        memory.store32(count, lines);
      });
    } finally {
      machine.close();
    }
    self.postMessage('done');
  } catch (error) {
    self.postMessage(`${error.name}: ${error.message}`);
  }
};
