export function installTransform(): void {
  throw new Error('not there yet');
}
