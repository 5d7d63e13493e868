/** Development and test builds: internal rules are asserted, lock order is learnt. */
export const DEV: boolean = true;
export const CHECKED: boolean = false;
