import { Operator, fail, operator } from "./guest";

/**
 * An operator that remembers earlier rows. What it remembers must follow from the rows in order, however they are cut into
 * batches; a restart, and a batch that failed, go on in a new instance with what was saved last. Its main file exports
 * "weir/exports_state" as well as "weir/exports". It is not part of "weir", so that operators without state are as small as before.
 */
export abstract class StatefulOperator extends Operator {
  /**
   * The state. It is called after batches: forget what is not needed any more, for the state's size is limited
   * (limits.state of the step, 1 MiB) and costs time with every batch.
   */
  abstract save(): Uint8Array;

  /** Takes a state, at most once, before the first batch. False refuses it. */
  abstract restore(state: Uint8Array): bool;
}

let saved: Uint8Array | null = null; // as the host was given it last
const answer = memory.data(8, 4);

export function weir_snapshot(): usize {
  const o = operator;
  if (!(o instanceof StatefulOperator)) return fail("the operator that was given to serve is not a StatefulOperator");
  const state = (o as StatefulOperator).save();
  saved = state;
  store<u32>(answer, <u32>state.dataStart);
  store<u32>(answer, <u32>state.length, 4);
  return answer;
}

export function weir_restore(at: usize, length: u32): i32 {
  const o = operator;
  if (!(o instanceof StatefulOperator)) return <i32>fail("the operator that was given to serve is not a StatefulOperator");
  const state = new Uint8Array(<i32>length);
  memory.copy(state.dataStart, at, length);
  return (o as StatefulOperator).restore(state) ? 1 : <i32>fail("a damaged state, or one of another operator");
}
