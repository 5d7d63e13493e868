// Parses a TypeScript file and lists everything it imports; shared by build.mjs (declarations) and layers.mjs.
import { readdirSync } from 'node:fs';
import { parseSync } from 'oxc-parser';

/** Every file under `dir`, sorted, as paths which start with `dir`. A missing directory is empty. */
export function walkFiles(dir) {
  let entries;
  try {
    entries = readdirSync(dir, { withFileTypes: true });
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
  return entries
    .flatMap((entry) => (entry.isDirectory() ? walkFiles(`${dir}/${entry.name}`) : [`${dir}/${entry.name}`]))
    .sort();
}

/** Calls visit(node, parent) for every syntax node. */
export function walkTree(node, visit, parent = undefined) {
  visit(node, parent);
  for (const key in node) {
    const value = node[key];
    for (const child of Array.isArray(value) ? value : [value]) {
      if (child && typeof child === 'object' && typeof child.type === 'string') walkTree(child, visit, node);
    }
  }
}

/** The syntax tree of a file. Throws on a syntax error. */
export function parse(file, text) {
  const { program, errors } = parseSync(file, text, { sourceType: 'module', astType: 'ts' });
  if (errors.length > 0) throw new Error(`${file}: ${errors[0].message}`);
  return program;
}

/** All imports, re-exports, import() calls and import('...') types: { specifier, start, end, typeOnly }. */
export function importsOf(program) {
  const found = [];
  const add = (source, typeOnly) => {
    if (source?.type === 'Literal' && typeof source.value === 'string') {
      found.push({ specifier: source.value, start: source.start, end: source.end, typeOnly });
    }
  };
  const allTypes = (specifiers, key) => specifiers.length > 0 && specifiers.every((s) => s[key] === 'type');
  walkTree(program, (node) => {
    if (node.type === 'ImportDeclaration') {
      add(node.source, node.importKind === 'type' || allTypes(node.specifiers, 'importKind'));
    } else if (node.type === 'ExportNamedDeclaration') {
      add(node.source, node.exportKind === 'type' || allTypes(node.specifiers, 'exportKind'));
    } else if (node.type === 'ExportAllDeclaration') add(node.source, node.exportKind === 'type');
    else if (node.type === 'ImportExpression') add(node.source, false);
    else if (node.type === 'TSImportType') add(node.source ?? node.argument?.literal ?? node.argument, true);
    else if (node.type === 'TSExternalModuleReference') add(node.expression, false);
    else if (node.type === 'TSModuleDeclaration') add(node.id, true);
  });
  return found;
}
