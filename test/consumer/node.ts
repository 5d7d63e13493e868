// What a user on Node writes: 'vmspace' and 'vmspace/node' together.
import { createMachine, VmError } from 'vmspace';
import { VmError as NodeVmError, openFile } from 'vmspace/node';

if (VmError !== NodeVmError) throw new Error('two VmError classes: main and node entry');
if (typeof openFile !== 'function') throw new Error('openFile is missing');

const machine = createMachine({ memory: 16 * 1024 * 1024 });
const space = machine.createSpace();
let caught: unknown;
try {
  space.load32(0);
} catch (error) {
  caught = error;
}
if (!(caught instanceof NodeVmError)) throw new Error(`a load of unmapped memory gave ${String(caught)}`);
space.close();
machine.close();
