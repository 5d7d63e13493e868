/** The checker's builds: as development builds, with small fan-outs and batches. */
export const DEV: boolean = true;
export const CHECKED: boolean = true;
