/**
 * The meaning of each word of a machine's memory: record and field. The names are those of the constants in the layout files, so
 * they cannot go stale.
 */
import * as mapping from '../../src/backing/mapping.layout.ts';
import { PAGE_SIZE } from '../../src/base/limits.ts';
import { stateKind, stateTag } from '../../src/memory/ownership.ts';
import * as page from '../../src/memory/page.layout.ts';
import {
  CHUNK_WORDS,
  PAGE_RECORD_WORDS,
  SPACE_WORDS,
  TABLE_HEADER_WORDS,
  TABLE_WORDS,
} from '../../src/memory/regions.layout.ts';
import { computeRegions, type Regions } from '../../src/memory/regions.ts';
import * as mm from '../../src/paging/mm.layout.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_NONE, PTE_PRESENT, PTE_WRITE, PTE_ZAPPED, ptePfn } from '../../src/paging/pte.ts';
import * as table from '../../src/paging/table.layout.ts';
import { SLAB_MAPPING, SLAB_NODE, SLAB_RMAP, SLAB_TEXT, SLAB_VMA } from '../../src/space/kernel.ts';
import * as control from '../../src/sync/control.layout.ts';
import { OWNER_MASK, WAITED } from '../../src/sync/lock-classes.ts';
import { COUNTERS, HISTOGRAM_BASE, HISTOGRAM_BUCKETS, HISTOGRAMS } from '../../src/trace/counters.ts';
import * as node from '../../src/vma/tree.layout.ts';
import * as vma from '../../src/vma/vma.layout.ts';

/** `C_RW_WAIT` -> `rwWait`. */
function camel(constant: string, prefix: string): string {
  return constant
    .slice(prefix.length)
    .toLowerCase()
    .replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

type Fields = readonly { readonly at: number; readonly name: string }[];

/** The fields of a record: the constants with a prefix, in order of their offsets. */
function fieldsOf(layout: object, prefix: string, words: number, except: readonly string[] = []): Fields {
  return Object.entries(layout)
    .filter(
      ([name, at]) =>
        name.startsWith(prefix) && typeof at === 'number' && at >= 0 && at < words && !except.includes(name),
    )
    .map(([name, at]) => ({ at: at as number, name: camel(name, prefix) }))
    .sort((a, b) => a.at - b.at);
}

/** The field that word `at` of a record belongs to, with an index if it is not the field's first word. */
function fieldAt(fields: Fields, at: number): string {
  let found: { at: number; name: string } | undefined;
  for (const field of fields) if (field.at <= at) found = field;
  if (found === undefined) return `word${at}`;
  return at === found.at ? found.name : `${found.name}[${at - found.at}]`;
}

const PAGE = fieldsOf(page, 'P_', PAGE_RECORD_WORDS);
const VMA = fieldsOf(vma, 'V_', vma.VMA_WORDS);
const NODE = fieldsOf(node, 'N_', node.NODE_WORDS, ['N_USED']);
const TABLE = fieldsOf(table, 'T_', TABLE_HEADER_WORDS);
const FILE: Fields = [
  { at: 0, name: 'state' },
  { at: 1, name: 'link' },
  ...fieldsOf(mapping, 'F_', mapping.MAPPING_WORDS),
];
const CPU = fieldsOf(control, 'C_', control.CPU_WORDS);
const HEADER = fieldsOf(control, 'H_', 64);
const SPACE = fieldsOf(mm, 'MM_', SPACE_WORDS, ['MM_FREE', 'MM_LIVE', 'MM_EXITING', 'MM_RING']);
const RECORD: Fields = [
  { at: 0, name: 'state' },
  { at: 1, name: 'link' },
  { at: 2, name: 'content' },
];
const LINES: Fields = [
  'EPOCH',
  'GRACE',
  'GRACE_WAITERS',
  'CPU_LOCK',
  'CPUS_USED',
  'CPU_SERIAL',
  'FRAME_LOCK',
  'FRAME_HEAD',
  'FRAME_FREE',
  'FRAME_BUMP',
  'ARENA_LOCK',
  'ARENA_BUMP',
  'TABLE_BUMP',
  'CLOCK_HAND',
  'SPACE_LOCK',
].map((name) => ({ at: (control as unknown as Record<string, number>)[name] as number, name: camel(name, '') }));
const SLAB_NAMES: Readonly<Record<number, string>> = {
  [SLAB_VMA]: 'VMA',
  [SLAB_NODE]: 'tree node',
  2: 'table',
  [SLAB_MAPPING]: 'file',
  [SLAB_RMAP]: 'rmap node',
  [SLAB_TEXT]: 'text',
};
const ARENA: Readonly<Record<number, { words: number; fields: Fields }>> = {
  [SLAB_VMA]: { words: vma.VMA_WORDS, fields: VMA },
  [SLAB_NODE]: { words: node.NODE_WORDS, fields: NODE },
  [SLAB_MAPPING]: { words: mapping.MAPPING_WORDS, fields: FILE },
  [SLAB_RMAP]: { words: 16, fields: RECORD },
  [SLAB_TEXT]: { words: 64, fields: RECORD },
};

/** Says what a byte of a machine's control memory is. */
export function describeMachine(memory: SharedArrayBuffer): (byte: number) => string {
  const words = new Int32Array(memory);
  const regions = computeRegions(words[control.H_FRAMES] as number);
  return (byte) => nameOf(words, regions, byte >> 2);
}

/** Says what a value in such a word means; undefined for plain numbers. */
export function describeValues(memory: SharedArrayBuffer): (byte: number, value: number) => string | undefined {
  const words = new Int32Array(memory);
  const regions = computeRegions(words[control.H_FRAMES] as number);
  const nameAt = (word: number): string => nameOf(words, regions, word);
  return (byte, value) => {
    const name = nameAt(byte >> 2);
    if (isLock(name)) return lockText(value);
    if (/\.detached$/.test(name)) return ['attached', 'replaced', 'unmapped', 'remapped', 'released'][value];
    if (/ \.state$/.test(name) && !/^(cpu|space) /.test(name)) return stateText(value);
    if (/\.pte\[\d+\]$/.test(name)) return pteText(value);
    if (/^cpu \d+ \.slot$/.test(name)) return (value & 1) === 0 ? 'no section' : `epoch ${value & ~1}`;
    if (
      /\.(held(\[\d+\])?|pageLocks(\[\d+\])?|rwWait|rwHold|futex|root|top|entry\[\d+\]|children(\[\d+\])?|refVma|rmapSlot|parent)$/.test(
        name,
      )
    ) {
      return value === 0 ? 'none' : nameAt(value).replace(/ \.(state|level)$/, '');
    }
    return undefined;
  };
}

/** Whether a word of this name holds the tag of a lock's owner. */
export function isLock(name: string): boolean {
  return /([lL]ock|\.lock|\.queue)$|^(futex bucket|page-cache lock) \d+$/.test(name);
}

const tagText = (tag: number): string => `cpu ${tag - 1}`;

function lockText(value: number): string {
  const owner = value & OWNER_MASK;
  return `${owner === 0 ? 'free' : tagText(owner)}${(value & WAITED) === 0 ? '' : ', waited for'}`;
}

function stateText(value: number): string {
  const kind = ['FREE', 'CACHED', 'OWNED', 'LIVE', 'RETIRED', 'KEPT'][stateKind(value)] ?? String(value);
  return stateTag(value) === 0 ? kind : `${kind} ${tagText(stateTag(value))}`;
}

const PTE_BITS = Object.entries({
  present: PTE_PRESENT,
  write: PTE_WRITE,
  accessed: PTE_ACCESSED,
  dirty: PTE_DIRTY,
  none: PTE_NONE,
  zapped: PTE_ZAPPED,
});

function pteText(value: number): string {
  if (value === 0) return 'empty';
  return [`pfn ${ptePfn(value)}`, ...PTE_BITS.filter(([, bit]) => (value & bit) !== 0).map(([name]) => name)].join(' ');
}

/** The same for a byte of the frames. */
export function describeFrames(byte: number): string {
  const inside = byte % PAGE_SIZE;
  return `frame ${Math.floor(byte / PAGE_SIZE)}${inside === 0 ? '' : ` +${inside}`}`;
}

function nameOf(words: Int32Array, regions: Regions, at: number): string {
  if (at < 64) return `machine .${fieldAt(HEADER, at)}`;
  if (at < control.SLAB_LINES) return fieldAt(LINES, at);
  if (at < control.FUTEX_LINES) return slabLine(at - control.SLAB_LINES);
  if (at < control.HASH_LOCK_LINES) return line('futex bucket', at - control.FUTEX_LINES);
  if (at < control.CPUS) return line('page-cache lock', at - control.HASH_LOCK_LINES);
  if (at < control.LOCKDEP) return cpu(at - control.CPUS);
  if (at < control.CONTROL_END)
    return `lockdep pair ${Math.floor((at - control.LOCKDEP) / control.LOCKDEP_PAIR_WORDS)}`;
  if (at < regions.pages) return space(at - regions.spaces);
  if (at < regions.buckets) return record('page', PAGE, at - regions.pages, PAGE_RECORD_WORDS);
  if (at < regions.tableHeaders) return `page-cache bucket ${at - regions.buckets}`;
  if (at < regions.tables) return record('table', TABLE, at - regions.tableHeaders, TABLE_HEADER_WORDS);
  if (at < regions.directory) return pte(words, regions, at - regions.tables);
  if (at < regions.chunks) return `arena chunk ${at - regions.directory} .kind`;
  return arena(words, regions, at - regions.chunks);
}

function record(name: string, fields: Fields, offset: number, size: number): string {
  return `${name} ${Math.floor(offset / size)} .${fieldAt(fields, offset % size)}`;
}

function cpu(offset: number): string {
  const inside = (offset % control.CPU_WORDS) - control.C_COUNTERS;
  const number = Math.floor(offset / control.CPU_WORDS);
  if (inside < 0 || inside >= control.COUNTER_SLOTS * 2) return record('cpu', CPU, offset, control.CPU_WORDS);
  const slot = (inside >> 1) - HISTOGRAM_BASE;
  const bucket = `${HISTOGRAMS[Math.floor(slot / HISTOGRAM_BUCKETS)]}[${slot % HISTOGRAM_BUCKETS}]`;
  const spare = slot >= HISTOGRAMS.length * HISTOGRAM_BUCKETS ? `spare ${slot}` : undefined;
  return `cpu ${number} .counters['${COUNTERS[inside >> 1] ?? spare ?? bucket}']${inside % 2 === 0 ? '' : '[1]'}`;
}

function line(name: string, offset: number): string {
  const inside = offset % control.LINE;
  return `${name} ${Math.floor(offset / control.LINE)}${inside === 0 ? '' : ` .word${inside}`}`;
}

function slabLine(offset: number): string {
  const kind = Math.floor(offset / control.LINE);
  const inside = offset % control.LINE;
  return `slab ${SLAB_NAMES[kind] ?? kind} .${inside === 0 ? 'lock' : inside === 1 ? 'freeList' : `word${inside}`}`;
}

function space(offset: number): string {
  const name = `space ${Math.floor(offset / SPACE_WORDS)}`;
  const inside = offset % SPACE_WORDS;
  if (inside < mm.MM_RING) return `${name} .${fieldAt(SPACE, inside)}`;
  const entry = inside - mm.MM_RING;
  const word = ['stamp', 'first', 'pages'][entry % mm.RING_ENTRY_WORDS] ?? 'spare';
  return `${name} .ring[${Math.floor(entry / mm.RING_ENTRY_WORDS)}].${word}`;
}

function pte(words: Int32Array, regions: Regions, offset: number): string {
  const which = Math.floor(offset / TABLE_WORDS);
  const level = words[regions.tableHeaders + which * TABLE_HEADER_WORDS + table.T_LEVEL];
  return `table ${which} .${level === 0 ? 'pte' : 'entry'}[${offset % TABLE_WORDS}]`;
}

function arena(words: Int32Array, regions: Regions, offset: number): string {
  const chunk = Math.floor(offset / CHUNK_WORDS);
  const kind = (words[regions.directory + chunk] as number) - 1;
  const layout = ARENA[kind];
  if (layout === undefined) return `arena chunk ${chunk} .word${offset % CHUNK_WORDS}`;
  const per = Math.floor(CHUNK_WORDS / layout.words);
  const inside = offset % CHUNK_WORDS;
  const number = chunk * per + Math.floor(inside / layout.words);
  return `${SLAB_NAMES[kind]} ${number} .${fieldAt(layout.fields, inside % layout.words)}`;
}
