/**
 * How long a test waits for what must happen. It is no measure of speed: on a machine with ten times as much to do as it can,
 * everything that works is long done by then.
 */
export const HANG_MS = 900_000;

/** Resolves once `reached()` is true. Rejects after `HANG_MS`, saying what did not come. */
export async function until(what: string, reached: () => boolean): Promise<void> {
  const since = performance.now();
  for (let sleep = 0; !reached(); sleep = Math.min(5, sleep + 1)) {
    if (performance.now() - since > HANG_MS) throw new Error(`not within ${HANG_MS / 1000} s: ${what}`);
    await new Promise((done) => setTimeout(done, sleep));
  }
}

/** The promise's value. Rejects after `HANG_MS`, saying what did not come. */
export async function inTime<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, failed) => {
    timer = setTimeout(() => failed(new Error(`not within ${HANG_MS / 1000} s: ${what}`)), HANG_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
