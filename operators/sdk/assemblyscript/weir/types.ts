/** The type of a column. Dates are days (i32) and timestamps are counts (i64) since 1970, in UTC. */
export enum Type {
  Any, // of Plan.column: whatever it is
  Bool,
  Int8,
  Int16,
  Int32,
  Int64,
  Uint8,
  Uint16,
  Uint32,
  Uint64,
  Float32,
  Float64,
  String,
  Binary,
  Date32,
  TimestampS,
  TimestampMs,
  TimestampUs,
  TimestampNs,

  /** With a type, as Type.List | Type.Float64: lists of it, none of whose items is null. */
  List = 32,
}

export function isList(type: Type): bool {
  return (type & Type.List) != 0;
}

/** The type of a list's items. */
export function itemOf(type: Type): Type {
  return type & ~Type.List;
}

// Formats in an ArrowSchema, names in pipelines, and bytes per value, by Type.
const formats: StaticArray<string> = [
  "", "b", "c", "s", "i", "l", "C", "S", "I", "L", "f", "g", "u", "z", "tdD", "tss:UTC", "tsm:UTC", "tsu:UTC", "tsn:UTC",
];
const names: StaticArray<string> = [
  "any", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "string",
  "binary", "date32", "timestamp[s]", "timestamp[ms]", "timestamp[us]", "timestamp[ns]",
];
const widths: StaticArray<u8> = [0, 0, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 0, 0, 4, 8, 8, 8, 8];

export function formatOf(type: Type): string {
  return isList(type) ? "+l" : formats[type];
}

/** The name of a type in pipelines: float64, timestamp[ms]. */
export function nameOf(type: Type): string {
  return isList(type) ? "list<" + names[itemOf(type)] + ">" : names[type];
}

/** Bytes of a value; 0 where that is not a number of whole bytes, or not the same for all. */
export function widthOf(type: Type): i32 {
  return widths[type];
}

export function isText(type: Type): bool {
  return type == Type.String || type == Type.Binary;
}

export function typeOf(format: string): Type {
  for (let t = 1; t < formats.length; t++) {
    if (formats[t] == format) return t;
  }
  return Type.Any;
}
