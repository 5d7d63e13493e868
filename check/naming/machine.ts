export function describeMachine(_control: SharedArrayBuffer): (byte: number) => string {
  return (byte) => `control +${byte}`;
}
export function describeFrames(byte: number): string {
  return `frame ${byte >> 12} +${byte & 4095}`;
}
