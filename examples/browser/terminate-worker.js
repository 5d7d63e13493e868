import * as vm from 'vmspace/browser';

self.onmessage = async ({ data: { space: handle, page } }) => {
  const space = vm.attachSpace(handle);
  await vm.machineOf(space).watchable(); // before long work: until then nobody could tell when this thread ends
  self.postMessage('counting');
  space.run((memory) => {
    for (;;) memory.add32(page, 1);
  });
};
