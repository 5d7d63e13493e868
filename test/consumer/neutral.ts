// What a user without Node types and without DOM types writes: only 'vmspace' itself.
import { attachSpace, createMachine, MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE, VmError } from 'vmspace';

const machine = createMachine({ memory: 16 * 1024 * 1024 });
const space = machine.createSpace();
const at: number = space.mmap({ length: 4096, prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS });
space.run((m) => m.store32(at, 7));
const seen: number = space.load32(at);
if (seen !== 7) throw new Error(`stored 7, loaded ${seen}`);
space.munmap(at, 4096);

let caught: unknown;
try {
  space.load32(at);
} catch (error) {
  caught = error;
}
if (!(caught instanceof VmError)) throw new Error(`a load of unmapped memory gave ${String(caught)}, not a VmError`);
const message: string = caught.message;
if (message === '') throw new Error('the VmError has no message');

space.close();
machine.close();
if (typeof attachSpace !== 'function') throw new Error('attachSpace is missing');
