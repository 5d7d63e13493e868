// What a user with DOM types and without Node types writes: 'vmspace' and 'vmspace/browser'.
import { createMachine, VmError } from 'vmspace';
import * as browser from 'vmspace/browser';

const names: string[] = Object.keys(browser);
if (names.length === 0) throw new Error("'vmspace/browser' exports nothing");
if ('VmError' in browser && browser.VmError !== VmError) throw new Error('two VmError classes: main and browser entry');
const machine = createMachine({ memory: 1024 * 1024 });
/** Type-checked, not run: there is no Worker of a page here. */
export const watched = (worker: Worker): void => machine.watch(worker);
machine.close();
