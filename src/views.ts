/** The frames as arrays of every element type. One set per machine and thread. */
export interface FrameViews {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;
  readonly view: DataView;
}

export function frameViews(buffer: SharedArrayBuffer | ArrayBuffer, bytes: number): FrameViews {
  return {
    u8: new Uint8Array(buffer, 0, bytes),
    u16: new Uint16Array(buffer, 0, bytes / 2),
    i32: new Int32Array(buffer, 0, bytes / 4),
    f32: new Float32Array(buffer, 0, bytes / 4),
    f64: new Float64Array(buffer, 0, bytes / 8),
    view: new DataView(buffer, 0, bytes),
  };
}
