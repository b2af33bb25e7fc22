// Delta says what a counter has gone up by since its device's reading before. It does what delta.c beside it does, in
// AssemblyScript; that file has the configuration. Keys may be of any length here.

import { Batch, Plan, Type, serve } from "weir";
import { StatefulOperator } from "weir/state";
export * from "weir/exports";
export * from "weir/exports_state";

class Delta extends StatefulOperator {
  key: i32 = 0;
  counter: i32 = 0;
  delta: i32 = 0;
  last: Map<string, i64> = new Map();

  open(plan: Plan): void {
    this.key = plan.column(plan.config.get("key").text("device"), Type.String);
    this.counter = plan.column(plan.config.get("counter").text("counter"), Type.Int64);
    plan.passAll();
    this.delta = plan.add("delta", Type.Int64, true);
  }

  process(batch: Batch): void {
    const devices = batch.text(this.key), now = batch.values<i64>(this.counter);
    const out = batch.newValues<i64>(this.delta, batch.rows);
    if (!out) return;
    for (let i = 0; i < batch.rows; i++) {
      out[i] = 0;
      if (!batch.valid(this.key, i) || !batch.valid(this.counter, i)) {
        if (!batch.setNull(this.delta, batch.rows, i)) return;
        continue;
      }
      if (now[i] < 0) return batch.fail("a counter is negative");
      const device = devices.get(i);
      if (this.last.has(device)) {
        const last = this.last.get(device);
        out[i] = now[i] >= last ? now[i] - last : now[i];
      } else if (!batch.setNull(this.delta, batch.rows, i)) return;
      this.last.set(device, now[i]);
    }
  }

  /** For each device, the length of its name, its last reading, and the name. */
  save(): Uint8Array {
    const devices = this.last.keys();
    let n = 0;
    for (let i = 0; i < devices.length; i++) n += 12 + String.UTF8.byteLength(devices[i]);
    const state = new Uint8Array(n);
    let at = state.dataStart;
    for (let i = 0; i < devices.length; i++) {
      const length = String.UTF8.encodeUnsafe(changetype<usize>(devices[i]), devices[i].length, at + 12);
      store<u32>(at, <u32>length);
      store<i64>(at, this.last.get(devices[i]), 4);
      at += 12 + length;
    }
    return state;
  }

  restore(state: Uint8Array): bool {
    let at = 0;
    while (at < state.length) {
      if (state.length - at < 12) return false;
      const from = state.dataStart + at, n = load<u32>(from);
      if (n > <u32>(state.length - at - 12)) return false;
      this.last.set(String.UTF8.decodeUnsafe(from + 12, n), load<i64>(from, 4));
      at += 12 + <i32>n;
    }
    return true;
  }
}

serve(new Delta());
