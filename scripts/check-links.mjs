// Checks that every relative link of the packed documents leads to a packed file, a packed folder, or a heading.
import { readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

/** Headings as GitHub and npm name them in links. */
function anchorsOf(text) {
  const headings = text.matchAll(/^#+ +(.*)$/gm);
  return [...headings].map(([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** Links and images that are not in code. */
function linksOf(text) {
  const prose = text.replace(/^(```+)[\s\S]*?^\1/gm, '').replace(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^()\s]+)\)/g)].map(([, target]) => target).filter((target) => !/^\w+:/.test(target));
}

/** `paths`: the files of the package, relative to `root`. Throws with every link that leads nowhere. */
export function checkLinks(root, paths) {
  const documents = paths.filter((path) => path.endsWith('.md'));
  const read = (path) => readFileSync(join(root, path), 'utf8');
  const wrong = [];
  let links = 0;
  for (const document of documents) {
    for (const link of linksOf(read(document))) {
      links++;
      const [file, anchor] = link.split('#');
      const target = file === '' ? document : posix.join(posix.dirname(document), file).replace(/\/$/, '');
      const isFile = paths.includes(target);
      const isThere = isFile || paths.some((path) => path.startsWith(`${target}/`));
      if (!isThere) wrong.push(`${document}: ${link} is not in the package`);
      else if (isFile && anchor !== undefined && target.endsWith('.md') && !anchorsOf(read(target)).includes(anchor)) {
        wrong.push(`${document}: ${link} names no heading`);
      }
    }
  }
  if (wrong.length > 0) throw new Error(`links of the packed documents:\n  ${wrong.join('\n  ')}`);
  return { documents: documents.length, links };
}
