import { ARRAY_SIZE, BUFFERS, Batch, CHILDREN, LENGTH, NULL_COUNT, N_BUFFERS, N_CHILDREN, pointer } from "./batch";
import { Operator, fail, serve, zeroed } from "./guest";
import { Plan } from "./plan";
import { Type, isText, widthOf } from "./types";
import { Bits } from "./views";

const FULL: usize = 1;

/** What is known of the rows of one key in one window. Extend it with fields of your own. */
export abstract class State {}

/**
 * An aggregate of a window. Between calls its states are bytes that the host keeps: what they become must depend on the rows
 * and their order alone, not on how they were cut into calls.
 */
export abstract class Aggregate {
  error: string = "";
  failed: bool = false;

  /** Checks the arguments and the configuration, and declares the answer with one call of plan.add. */
  abstract open(plan: Plan): void;
  /** The state of no rows. */
  abstract init(): State;
  /** Reads a state that save wrote, by this module or by an earlier one. */
  abstract load(bytes: Uint8Array): State;
  /** Writes a state, at least one byte. */
  abstract save(state: State): Uint8Array;
  /** Takes rows from..to-1 into a state, in their order. The other rows of the batch are of other keys. */
  abstract accumulate(state: State, batch: Batch, from: i32, to: i32): void;
  /** Takes what another state has seen. */
  abstract merge(state: State, other: State): void;
  /** Gives the answer, by one call of a method of answer. */
  abstract finish(state: State, answer: Answer): void;

  /** Fails the call, when the method returns. The first reason counts. */
  fail(why: string): void {
    if (!this.failed) this.error = why;
    this.failed = true;
  }
}

/** Takes the answers of states, of the type that was declared. */
@final
export class Answer {
  readonly texts: ArrayBuffer[] = [];
  readonly words: StaticArray<u64>;
  readonly none: StaticArray<bool>;
  row: i32 = 0;

  constructor(rows: i32) {
    this.words = new StaticArray<u64>(rows);
    this.none = new StaticArray<bool>(rows);
  }

  /** A number of the declared type. */
  number<T>(v: T): void {
    store<T>(changetype<usize>(this.words) + ((<usize>this.row) << 3), v);
  }

  /** A truth value. */
  bool(v: bool): void {
    this.words[this.row] = <u64>v;
  }

  /** A string. */
  text(v: string): void {
    this.texts[this.row] = String.UTF8.encode(v);
  }

  /** Null. */
  null(): void {
    this.none[this.row] = true;
  }
}

let aggregate: Aggregate | null = null;
let rows: Batch | null = null;
let answerType: Type = Type.Any;
let result: usize = 0; // an array of one column, whose buffers lie in the window of the call

/** What guest.ts opens. */
@final
class Adapter extends Operator {
  open(plan: Plan): void {
    const a = aggregate!;
    a.open(plan);
    if (a.failed) plan.refuse(a.error);
    if (!plan.refused && plan.out.length != 1) plan.refuse("the aggregate must declare one column: its answer");
    if (plan.refused) return;
    answerType = plan.out[0].type;
    rows = new Batch([]);
    result = zeroed(ARRAY_SIZE);
    const child = zeroed(ARRAY_SIZE), children = zeroed(4);
    store<i64>(result, 1, N_BUFFERS);
    store<usize>(result, zeroed(4), BUFFERS);
    store<i64>(result, 1, N_CHILDREN);
    store<usize>(result, children, CHILDREN);
    store<usize>(children, child);
    store<usize>(child, zeroed(12), BUFFERS);
  }

  process(batch: Batch): void {
    batch.fail("it is an aggregate, and no operator of rows");
  }
}

/** Names the aggregate of this module. Call it once, at the top level of the main file. */
export function serveAggregate(a: Aggregate): void {
  aggregate = a;
  serve(new Adapter());
}

/** The column of an array of states. */
function columnOf(states: usize): usize {
  return pointer(load<usize>(states, CHILDREN), 0);
}

function stateAt(states: usize, i: i32): State {
  const buffers = load<usize>(columnOf(states), BUFFERS), valid = pointer(buffers, 0);
  if (valid && !((load<u8>(valid + (i >> 3)) >> (i & 7)) & 1)) return aggregate!.init();
  const at = pointer(buffers, 1) + ((<usize>i) << 2), from = load<i32>(at), n = load<i32>(at, 4) - from;
  const bytes = new Uint8Array(n);
  memory.copy(bytes.dataStart, pointer(buffers, 2) + from, n);
  return aggregate!.load(bytes);
}

/** The window of a call, taken from front to back. */
let room: usize = 0;
let end: usize = 0;

function claim(n: usize): usize {
  const at = room;
  if (n > end - at) return 0;
  room = min(end, at + ((n + 63) & ~63));
  return at;
}

/** The result: n rows in these buffers. */
function made(n: i32, validity: usize, first: usize, second: usize, text: bool): usize {
  const child = columnOf(result), buffers = load<usize>(child, BUFFERS);
  store<i64>(result, n, LENGTH);
  store<i64>(child, n, LENGTH);
  store<i64>(child, validity ? -1 : 0, NULL_COUNT);
  store<i64>(child, text ? 3 : 2, N_BUFFERS);
  store<usize>(buffers, validity);
  store<usize>(buffers, first, 4);
  store<usize>(buffers, second, 8);
  return result;
}

/** Bytes of any length, one after the other. */
function writeBytes(list: ArrayBuffer[], validity: usize): usize {
  let total: usize = 0;
  for (let i = 0; i < list.length; i++) total += list[i].byteLength;
  const offsets = claim(4 * (list.length + 1)), data = claim(total);
  if (!offsets || !data) return FULL;
  let at: usize = 0;
  store<i32>(offsets, 0);
  for (let i = 0; i < list.length; i++) {
    memory.copy(data + at, changetype<usize>(list[i]), list[i].byteLength);
    at += list[i].byteLength;
    store<i32>(offsets + ((<usize>i) << 2), <i32>at, 4);
  }
  return made(list.length, validity, offsets, data, true);
}

function bytesOf(state: State): ArrayBuffer {
  const b = aggregate!.save(state);
  return b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength);
}

function begin(out: usize, n: usize): Aggregate {
  room = out;
  end = out + n;
  const a = aggregate!;
  a.failed = false;
  return a;
}

export function weir_accumulate(array: usize, states: usize, out: usize, outRoom: usize): usize {
  const a = begin(out, outRoom), b = rows!;
  b.begin(array, out, outRoom);
  const columns = <i32>load<i64>(array, N_CHILDREN), groups = b.values<i32>(columns - 1);
  const n = <i32>load<i64>(states, LENGTH), list: ArrayBuffer[] = [];
  let from = 0;
  for (let g = 0; g < n; g++) {
    const state = stateAt(states, g);
    let to = from;
    while (to < b.rows && groups[to] == g) to++;
    if (!a.failed) a.accumulate(state, b, from, to);
    if (b.failed) a.fail(b.error);
    if (a.failed) return fail(a.error);
    list.push(bytesOf(state));
    from = to;
  }
  return writeBytes(list, 0);
}

export function weir_merge(states: usize, others: usize, out: usize, outRoom: usize): usize {
  const a = begin(out, outRoom), n = <i32>load<i64>(states, LENGTH), list: ArrayBuffer[] = [];
  for (let i = 0; i < n; i++) {
    const state = stateAt(states, i), other = stateAt(others, i);
    if (!a.failed) a.merge(state, other);
    if (a.failed) return fail(a.error);
    list.push(bytesOf(state));
  }
  return writeBytes(list, 0);
}

export function weir_finish(states: usize, out: usize, outRoom: usize): usize {
  const a = begin(out, outRoom), n = <i32>load<i64>(states, LENGTH), answer = new Answer(n);
  const text = isText(answerType);
  for (let i = 0; i < n; i++) {
    const state = stateAt(states, i);
    answer.row = i;
    if (text) answer.texts.push(new ArrayBuffer(0));
    if (!a.failed) a.finish(state, answer);
    if (a.failed) return fail(a.error);
  }
  let validity: usize = 0;
  for (let i = 0; i < n; i++) {
    if (!answer.none[i]) continue;
    if (!validity) {
      validity = claim((n + 7) >> 3);
      if (!validity) return FULL;
      memory.fill(validity, 0xff, (n + 7) >> 3);
    }
    changetype<Bits>(validity)[i] = false;
  }
  if (text) return writeBytes(answer.texts, validity);
  const width = <usize>widthOf(answerType), values = claim(width ? width * n : (n + 7) >> 3);
  if (!values) return FULL;
  if (!width) memory.fill(values, 0, (n + 7) >> 3);
  for (let i = 0; i < n; i++) {
    const from = changetype<usize>(answer.words) + ((<usize>i) << 3);
    if (width) memory.copy(values + width * i, from, width);
    else changetype<Bits>(values)[i] = <bool>load<u8>(from);
  }
  return made(n, validity, values, 0, false);
}
