// Generates the API reference, from the declarations that users get, into dist-docs. Usage: node scripts/docs-api.mjs
//
// typedoc needs the JavaScript interface of the compiler, which TypeScript 7 does not have. So it runs over TypeScript 6, which is
// installed beside it as `typescript-6`. It reads declarations, and those TypeScript 7 has compiled from the sources.
import { register } from 'node:module';
import { join } from 'node:path';
import { build, root } from './build.mjs';

const hooks = `export const resolve = (specifier, context, next) =>
  next(specifier === 'typescript' ? 'typescript-6' : specifier, context);`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
const { Application, ConsoleLogger } = await import('typedoc');

const entries = ['index', 'node', 'browser', 'check/index'];

/** The library must be documented without a gap. The checker has check/README.md, and not yet a word on each property. */
class Logger extends ConsoleLogger {
  validationWarning(text, ...where) {
    if (!text.includes('dist/types/check/')) super.validationWarning(text, ...where);
  }
}

await build(['types'], { ifStale: true, quiet: true });
const app = await Application.bootstrap({
  name: 'vmspace',
  entryPoints: entries.map((name) => join(root, 'dist/types', `${name}.d.ts`)),
  tsconfig: join(root, 'tsconfig.docs.json'),
  readme: 'none',
  excludePrivate: true,
  excludeExternals: true,
  disableSources: true,
  validation: { notExported: true, invalidLink: true, notDocumented: true },
});
app.logger = new Logger();
const project = await app.convert();
if (project !== undefined) {
  app.validate(project);
  await app.generateDocs(project, join(root, 'dist-docs'));
}
if (app.logger.hasErrors() || app.logger.hasWarnings()) process.exit(1);
