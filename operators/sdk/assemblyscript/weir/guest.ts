import {
  ARRAY_SIZE, BUFFERS, Batch, CHILDREN, LENGTH, NULL_COUNT, N_BUFFERS, N_CHILDREN, pointer,
} from "./batch";
import { Plan } from "./plan";
import { Type, formatOf, isList, isText, itemOf, typeOf } from "./types";

const ABI = 1;
const PAGE: u32 = 64 << 10;
const FULL: usize = 1;
const NULLABLE: i64 = 2;

// Fields of an ArrowSchema of the Arrow C data interface as wasm32 lays it out.
const SCHEMA_SIZE: usize = 48;
const FORMAT: usize = 0;
const NAME: usize = 4;
const FLAGS: usize = 16;
const SCHEMA_N_CHILDREN: usize = 24;
const SCHEMA_CHILDREN: usize = 32;

@external("weir", "log")
declare function importLog(level: i32, at: usize, n: usize): void;

@external("weir", "error")
declare function importError(at: usize, n: usize): void;

/** How much a line in the node's log matters. */
export enum Level {
  Debug,
  Info,
  Warn,
  Error,
}

/** Writes a line to the node's log. 16 lines of each call are kept, and 1024 bytes of each. */
export function log(level: Level, text: string): void {
  const utf8 = String.UTF8.encode(text);
  importLog(level, changetype<usize>(utf8), utf8.byteLength);
}

export function fail(why: string): usize {
  const utf8 = String.UTF8.encode(why);
  importError(changetype<usize>(utf8), utf8.byteLength);
  return 0;
}

/** Stands for AssemblyScript's abort: failed assertions and the like give their message, and trap. */
export function weirAbort(message: string | null, file: string | null, line: u32, column: u32): void {
  fail("abort: " + (message ? message : "") + " at " + (file ? file : "") + ":" + line.toString());
  unreachable();
}

/** An operator. One object of it lives as long as the instance. */
export abstract class Operator {
  /** Checks the input and the configuration, and declares the output. */
  abstract open(plan: Plan): void;

  /** Makes the output columns of one batch. */
  abstract process(batch: Batch): void;
}

export let operator: Operator | null = null;
let batch: Batch | null = null;
let tables: StaticArray<usize> = []; // per column that is a list: the pointer to the array of its items
let result: usize = 0; // the array of the batch; those of the columns, their pointers and buffers are behind it

/** Names the operator of this module. Call it once, at the top level of the main file. */
export function serve(o: Operator): void {
  operator = o;
}

export function weir_abi(): i32 {
  return ABI;
}

/** New pages, which nobody else uses: the runtime takes only those that it asked for itself. */
export function weir_alloc(size: u32): u32 {
  const page = memory.grow(<i32>(size / PAGE + <u32>(size % PAGE != 0)));
  return page < 0 ? 0 : <u32>page * PAGE;
}

export function weir_windows(_in: u32, _inLength: u32, _out: u32, _outLength: u32): void {}

export function weir_open(config: usize, length: usize, schema: usize): usize {
  const o = operator;
  if (!o) return fail("the operator does not call serve");
  const plan = new Plan(String.UTF8.decodeUnsafe(config, length));
  const n = <i32>load<i64>(schema, SCHEMA_N_CHILDREN);
  for (let i = 0; i < n; i++) {
    const field = pointer(load<usize>(schema, SCHEMA_CHILDREN), i);
    plan.names.push(zeroEndedAt(load<usize>(field, NAME)));
    plan.types.push(typeAt(field));
    plan.nulls.push((load<i64>(field, FLAGS) & NULLABLE) != 0);
  }
  o.open(plan);
  if (plan.refused) return fail(plan.error);
  if (plan.rows) plan.pass(n - 1);
  batch = new Batch(plan.out);
  prepare(plan);
  return outSchema(plan);
}

/** The type of a column of the schema. */
function typeAt(field: usize): Type {
  const format = zeroEndedAt(load<usize>(field, FORMAT));
  if (format != "+l") return typeOf(format);
  const item = typeOf(zeroEndedAt(load<usize>(pointer(load<usize>(field, SCHEMA_CHILDREN), 0), FORMAT)));
  return item == Type.Any ? Type.Any : Type.List | item;
}

/** Text up to a zero byte. */
function zeroEndedAt(at: usize): string {
  let n: usize = 0;
  while (load<u8>(at + n)) n++;
  return String.UTF8.decodeUnsafe(at, n);
}

/** Memory that stays, all zero. */
export function zeroed(n: usize): usize {
  const at = heap.alloc(n + 8);
  memory.fill(at, 0, n + 8);
  return (at + 7) & ~7;
}

/** Text that stays, with a zero byte behind it. */
function zeroEnded(s: string): usize {
  const at = zeroed(String.UTF8.byteLength(s) + 1);
  String.UTF8.encodeUnsafe(changetype<usize>(s), s.length, at);
  return at;
}

function outSchema(plan: Plan): usize {
  const n = plan.out.length;
  const root = zeroed(SCHEMA_SIZE), children = zeroed(4 * n);
  for (let i = 0; i < n; i++) {
    const f = plan.out[i], at = zeroed(SCHEMA_SIZE);
    store<usize>(at, zeroEnded(formatOf(f.type)), FORMAT);
    if (isList(f.type)) {
      const item = zeroed(SCHEMA_SIZE), table = zeroed(4);
      store<usize>(item, zeroEnded(formatOf(itemOf(f.type))), FORMAT);
      store<usize>(item, zeroEnded("item"), NAME);
      store<usize>(table, item);
      store<i64>(at, 1, SCHEMA_N_CHILDREN);
      store<usize>(at, table, SCHEMA_CHILDREN);
    }
    store<usize>(at, zeroEnded(f.name), NAME);
    store<i64>(at, f.nullable ? NULLABLE : 0, FLAGS);
    store<usize>(children + ((<usize>i) << 2), at);
  }
  store<usize>(root, zeroEnded("+s"), FORMAT);
  store<usize>(root, zeroEnded(""), NAME);
  store<i64>(root, n, SCHEMA_N_CHILDREN);
  store<usize>(root, children, SCHEMA_CHILDREN);
  return root;
}

/** Lays out the arrays that every batch fills in. */
function prepare(plan: Plan): void {
  const n = plan.out.length;
  tables = new StaticArray<usize>(n);
  result = zeroed(ARRAY_SIZE);
  const children = zeroed(4 * n);
  store<i64>(result, 1, N_BUFFERS);
  store<usize>(result, zeroed(4), BUFFERS);
  store<i64>(result, n, N_CHILDREN);
  store<usize>(result, children, CHILDREN);
  for (let i = 0; i < n; i++) {
    const at = zeroed(ARRAY_SIZE);
    store<i64>(at, isText(plan.out[i].type) ? 3 : 2, N_BUFFERS);
    store<usize>(at, zeroed(12), BUFFERS);
    if (isList(plan.out[i].type)) {
      const items = zeroed(ARRAY_SIZE), table = zeroed(4);
      store<i64>(items, isText(itemOf(plan.out[i].type)) ? 3 : 2, N_BUFFERS);
      store<usize>(items, zeroed(12), BUFFERS);
      store<usize>(table, items);
      store<i64>(at, 1, N_CHILDREN);
      store<usize>(at, table, CHILDREN);
      tables[i] = table;
    }
    store<usize>(children + ((<usize>i) << 2), at);
  }
}

export function weir_process(array: usize, out: usize, room: usize): usize {
  const b = batch!;
  b.begin(array, out, room);
  operator!.process(b);
  if (b.failed) return fail(b.error);
  if (b.full) return FULL;
  store<i64>(result, b.length, LENGTH);
  for (let i = 0; i < b.out.length; i++) {
    const c = b.out[i], at = pointer(load<usize>(result, CHILDREN), i);
    const to = load<usize>(at, BUFFERS), text = isText(c.type);
    store<i64>(at, b.length, LENGTH);
    if (c.made) {
      store<i64>(at, c.validity ? -1 : 0, NULL_COUNT);
      store<usize>(to, c.validity);
      store<usize>(to, text ? c.offsets : c.values, 4);
      if (text) store<usize>(to, c.values, 8);
      if (isList(c.type)) {
        if (c.rows != b.length) return fail("an output column of lists has another number of rows than the output");
        store<usize>(to, c.offsets, 4);
        store<usize>(at, tables[i], CHILDREN);
        const items = load<usize>(tables[i]), strings = isText(itemOf(c.type)), into = load<usize>(items, BUFFERS);
        store<i64>(items, c.items, LENGTH);
        store<usize>(into, strings ? c.itemOffsets : c.values, 4);
        if (strings) store<usize>(into, c.values, 8);
      }
    } else if (c.source < 0) {
      return fail("an output column was not made in this batch");
    } else if (b.length != b.rows) {
      return fail("passes columns, but has another number of rows: take them");
    } else {
      const child = b.child(c.source);
      store<i64>(at, load<i64>(child, NULL_COUNT), NULL_COUNT);
      memory.copy(to, load<usize>(child, BUFFERS), text ? 12 : 8);
      if (isList(c.type)) store<usize>(at, load<usize>(child, CHILDREN), CHILDREN);
    }
  }
  return result;
}
