// Checks what dist/types tells users: the public face, and nothing of what is behind it.
import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { importsOf, parse, walkFiles, walkTree } from './imports.mjs';

/** The classes that users get objects of, by their file. */
const CLASSES = {
  'machine/machine': ['Machine'],
  'machine/space': ['Space'],
  'machine/mapped-file': ['MappedFile'],
  'access/accessor': ['Accessor'],
  'base/errors': ['VmError', 'SegmentationFault', 'BusError', 'WouldBlock', 'Oops'],
};
/** Members that the inside calls. They are named here too, so that a forgotten `@internal` is found. */
const INSIDE = ['kernel', 'views', 'forSpacesOnly', 'spaceClosed', 'machineClosed', 'leaveIfUnused', 'reapNow'];
INSIDE.push('reapThread', 'checkOpen', 'is', 'mappingOf', 'constructor');
/** Rooms of src that no declaration may reach. */
const HIDDEN = ['fault', 'memory', 'paging', 'recovery', 'space', 'sync', 'vma'];

/** The names of the members of a class that are neither private nor of JavaScript's own private kind. */
function membersOf(program, name) {
  let members;
  walkTree(program, (node) => {
    if (node.type !== 'ClassDeclaration' || node.id?.name !== name) return;
    members = node.body.body
      .filter(({ accessibility, key }) => accessibility !== 'private' && key.type !== 'PrivateIdentifier')
      .map(({ key }) => key.name);
  });
  if (members === undefined) throw new Error(`the declarations have no class ${name}`);
  return members;
}

/** Throws when the declarations under `root`/dist/types show what is internal. */
export function checkDeclarations(root) {
  const base = `${root}/dist/types`;
  const wrong = [];
  for (const file of walkFiles(base)) {
    const name = posix.relative(base, file);
    const text = readFileSync(file, 'utf8');
    if (text.includes('@internal')) wrong.push(`${name} has a declaration that is marked @internal`);
    for (const { specifier } of importsOf(parse(name, text))) {
      const target = posix.join(posix.dirname(name), specifier);
      if (HIDDEN.includes(target.split('/')[0])) wrong.push(`${name} imports ${specifier}, which is behind the face`);
    }
  }
  for (const [file, classes] of Object.entries(CLASSES)) {
    const program = parse(`${file}.d.ts`, readFileSync(`${base}/${file}.d.ts`, 'utf8'));
    for (const name of classes) {
      // Users make errors themselves: a backing throws WouldBlock.
      const inside = file === 'base/errors' ? INSIDE.filter((member) => member !== 'constructor') : INSIDE;
      for (const member of membersOf(program, name)) {
        if (inside.includes(member)) wrong.push(`${name}.${member} is internal, and a user sees it`);
      }
    }
  }
  if (wrong.length > 0) throw new Error(`the declarations show too much:\n  ${wrong.join('\n  ')}`);
}
