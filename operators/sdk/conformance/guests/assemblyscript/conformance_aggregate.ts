// The guest of the conformance suite's aggregate in AssemblyScript; operators/sdk/conformance/README.md says what it does.
import { Batch, Plan, Type } from "weir";
import { Aggregate, Answer, State, serveAggregate } from "weir/aggregate";
export * from "weir/aggregate_exports";

class Seen extends State {
  count: u64 = 0;
  sum: i64 = 0;
  text: string = "";
}

class Journal extends Aggregate {
  n: i32 = 0;
  s: i32 = 0;

  open(plan: Plan): void {
    const message = plan.config.get("message").text("");
    if (message.length) {
      plan.refuse(message);
      return;
    }
    this.n = plan.column("n", Type.Int64);
    this.s = plan.column("s", Type.String);
    plan.add("answer", Type.String, true);
  }

  init(): State {
    return new Seen();
  }

  load(bytes: Uint8Array): State {
    const s = new Seen();
    if (bytes.length < 16) {
      this.fail("a state is too short");
      return s;
    }
    s.count = load<u64>(bytes.dataStart);
    s.sum = load<i64>(bytes.dataStart, 8);
    s.text = String.UTF8.decodeUnsafe(bytes.dataStart + 16, bytes.length - 16);
    return s;
  }

  save(state: State): Uint8Array {
    const s = changetype<Seen>(state), text = Uint8Array.wrap(String.UTF8.encode(s.text));
    const to = new Uint8Array(16 + text.length);
    store<u64>(to.dataStart, s.count);
    store<i64>(to.dataStart, s.sum, 8);
    to.set(text, 16);
    return to;
  }

  accumulate(state: State, batch: Batch, from: i32, to: i32): void {
    const s = changetype<Seen>(state), n = batch.values<i64>(this.n), text = batch.text(this.s);
    for (let i = from; i < to; i++) {
      if (!batch.valid(this.n, i)) continue;
      if (n[i] == 13) {
        this.fail("a row has n = 13");
        return;
      }
      s.count++;
      s.sum += n[i];
      s.text += text.get(i);
    }
  }

  merge(state: State, other: State): void {
    const s = changetype<Seen>(state), o = changetype<Seen>(other);
    s.count += o.count;
    s.sum += o.sum;
    s.text += o.text;
  }

  finish(state: State, answer: Answer): void {
    const s = changetype<Seen>(state);
    if (!s.count) answer.null();
    else answer.text(s.count.toString() + " " + s.sum.toString() + " " + s.text);
  }
}

serveAggregate(new Journal());
