/** Production builds: assertions are removed by the bundler. */
export const DEV: boolean = false;
export const CHECKED: boolean = false;
