// What somebody writes who tests a driver of files: 'vmspace' and 'vmspace/conformance', with no types but the language's.
import { type Backing, registerBacking } from 'vmspace';
import { backingConformance, type DriverUnderTest } from 'vmspace/conformance';

function memoryFile(bytes: Uint8Array): Backing {
  return {
    read(position, targets) {
      let done = 0;
      for (const target of targets) {
        const part = bytes.subarray(position + done, position + done + target.length);
        target.set(part);
        done += part.length;
      }
      return done;
    },
    close() {},
  };
}

const driver: DriverUnderTest = { file: (bytes) => () => memoryFile(bytes) };
const tests = backingConformance(driver);
if (tests.length < 8) throw new Error(`there are ${tests.length} tests`);
for (const { run } of tests) await run();

// Two bundles of the library would each have kinds of their own.
registerBacking('vmspace-conformance', () => memoryFile(new Uint8Array(1)));
const wrong: DriverUnderTest = { file: (bytes) => () => memoryFile(bytes.map((byte) => byte ^ 1)) };
let failed = 0;
for (const { run } of backingConformance(wrong)) await run().catch(() => failed++);
if (failed === 0) throw new Error('a driver that gives wrong bytes has passed');
