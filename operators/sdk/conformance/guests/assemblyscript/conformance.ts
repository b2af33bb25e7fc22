// The conformance guest in AssemblyScript. What each mode does is in ../../README.md.

import { Batch, Level, Operator, Plan, Text, Type, Utf8, log, serve } from "weir";
export * from "weir/exports";

class Conformance extends Operator {
  mode: string = "";
  n: i32 = 0;
  s: i32 = 0;
  added: i32 = 0;
  types: Type[] = [];
  seen: i64 = 0;

  number: f64 = 0;
  sum: f64 = 0;
  flag: bool = false;
  text: Utf8 = new Utf8("");
  keys: Utf8 = new Utf8("");

  open(plan: Plan): void {
    const mode = plan.config.get("mode").text("");
    this.mode = mode;
    for (let i = 0; i < plan.columns; i++) this.types.push(plan.type(i));
    plan.passAll();
    if (mode == "take" || mode == "repeat" || mode == "double" || mode == "fail" || mode == "panic") {
      this.n = plan.column("n", Type.Int64);
    }
    if (mode == "take" || mode == "repeat") plan.keepRows();
    if (mode == "repeat") this.added = plan.add("copy", Type.Int32, false);
    else if (mode == "upper") {
      this.s = plan.column("s", Type.String);
      this.added = plan.add("size", Type.Uint32, true);
    } else if (mode == "count") this.added = plan.add("seen", Type.Int64, false);
    else if (mode == "double") this.added = plan.add("seven", Type.Bool, true);
    else if (mode == "refuse") plan.refuse(plan.config.get("message").text(""));
    else if (mode == "config") this.openConfig(plan);
    else if (mode != "pass" && mode != "copy" && mode != "take" && mode != "fail" && mode != "panic" && mode != "log") {
      plan.refuse("config.mode is not one of the modes");
    }
  }

  private openConfig(plan: Plan): void {
    const config = plan.config, entries = config.get("entries"), keys = entries.keys();
    this.added = plan.add("number", Type.Float64, false);
    plan.add("text", Type.String, false);
    plan.add("flag", Type.Bool, false);
    plan.add("sum", Type.Float64, false);
    plan.add("keys", Type.String, false);
    this.number = config.get("number").number(-1);
    this.text = new Utf8(config.get("text").text("none"));
    this.flag = config.get("flag").bool(false);
    for (let i = 0; i < keys.length; i++) this.sum += entries.get(keys[i]).number(0);
    this.keys = new Utf8(keys.join(","));
  }

  process(batch: Batch): void {
    const mode = this.mode;
    if (mode == "copy") this.copy(batch);
    else if (mode == "take") this.take(batch);
    else if (mode == "repeat") this.repeat(batch);
    else if (mode == "upper") this.upper(batch);
    else if (mode == "count") this.count(batch);
    else if (mode == "double") this.double(batch);
    else if (mode == "config") this.constants(batch);
    else if (mode == "fail" && this.thirteen(batch)) batch.fail("a row has n = 13: größer geht's nicht");
    else if (mode == "panic") assert(!this.thirteen(batch), "thirteen");
    else if (mode == "log") {
      log(Level.Debug, "a debug line");
      log(Level.Info, "an info line");
      log(Level.Warn, "a warning");
      log(Level.Error, "an error: größer");
    }
  }

  private thirteen(batch: Batch): bool {
    const n = batch.values<i64>(this.n);
    for (let i = 0; i < batch.rows; i++) {
      if (n[i] == 13 && batch.valid(this.n, i)) return true;
    }
    return false;
  }

  private copy(batch: Batch): void {
    for (let c = 0; c < this.types.length; c++) {
      let made: bool;
      switch (this.types[c]) {
        case Type.Bool: made = this.copyBools(batch, c); break;
        case Type.Int8: made = this.copyFixed<i8>(batch, c); break;
        case Type.Int16: made = this.copyFixed<i16>(batch, c); break;
        case Type.Int32:
        case Type.Date32: made = this.copyFixed<i32>(batch, c); break;
        case Type.Uint8: made = this.copyFixed<u8>(batch, c); break;
        case Type.Uint16: made = this.copyFixed<u16>(batch, c); break;
        case Type.Uint32: made = this.copyFixed<u32>(batch, c); break;
        case Type.Uint64: made = this.copyFixed<u64>(batch, c); break;
        case Type.Float32: made = this.copyFixed<f32>(batch, c); break;
        case Type.Float64: made = this.copyFixed<f64>(batch, c); break;
        case Type.String:
        case Type.Binary: made = this.copyText(batch, c); break;
        default: made = this.copyFixed<i64>(batch, c);
      }
      if (!made) return;
      for (let i = 0; i < batch.rows; i++) {
        if (!batch.valid(c, i) && !batch.setNull(c, batch.rows, i)) return;
      }
    }
  }

  private copyFixed<T>(batch: Batch, c: i32): bool {
    const from = batch.values<T>(c), to = batch.newValues<T>(c, batch.rows);
    if (!to) return false;
    for (let i = 0; i < batch.rows; i++) to[i] = from[i];
    return true;
  }

  private copyBools(batch: Batch, c: i32): bool {
    const from = batch.bools(c), to = batch.newBools(c, batch.rows);
    if (!to) return false;
    for (let i = 0; i < batch.rows; i++) to[i] = from[i];
    return true;
  }

  private copyText(batch: Batch, c: i32): bool {
    const from: Text = batch.text(c), to = batch.newText(c, batch.rows, from.total(batch.rows));
    if (!to) return false;
    for (let i = 0; i < batch.rows; i++) to.addFrom(from, i);
    return true;
  }

  private take(batch: Batch): void {
    const n = batch.values<i64>(this.n), rows = batch.selection(batch.rows);
    if (!rows) return;
    let kept = 0;
    for (let i = 0; i < batch.rows; i++) {
      if (batch.valid(this.n, i) && n[i] % 2 == 0) rows[kept++] = i;
    }
    batch.take(rows, kept);
  }

  private repeat(batch: Batch): void {
    const n = batch.values<i64>(this.n);
    let made = 0, at = 0;
    for (let i = 0; i < batch.rows; i++) {
      if (batch.valid(this.n, i) && n[i] > 0) made += <i32>n[i];
    }
    const rows = batch.selection(made), number = batch.newValues<i32>(this.added, made);
    if (!rows || !number) return;
    for (let i = 0; i < batch.rows; i++) {
      for (let k = 0; batch.valid(this.n, i) && k < <i32>n[i]; k++, at++) {
        rows[at] = i;
        number[at] = k;
      }
    }
    batch.take(rows, made);
  }

  private upper(batch: Batch): void {
    const from = batch.text(this.s), sizes = batch.newValues<u32>(this.added, batch.rows);
    const to = batch.newText(this.s, batch.rows, from.total(batch.rows));
    if (!sizes || !to) return;
    for (let i = 0; i < batch.rows; i++) {
      sizes[i] = from.length(i);
      const s = from.get(i);
      let upper = "";
      for (let k = 0; k < s.length; k++) {
        const c = s.charCodeAt(k);
        if (c >= 0x61 && c <= 0x7a) {
          upper = this.ascii(s);
          break;
        }
      }
      to.add(upper.length ? upper : s);
      if (!batch.valid(this.s, i) && !batch.setNull(this.added, batch.rows, i)) return;
    }
    batch.keepNulls(this.s, this.s);
  }

  private ascii(s: string): string {
    const units = new Array<i32>(s.length);
    for (let k = 0; k < s.length; k++) {
      const c = s.charCodeAt(k);
      units[k] = c >= 0x61 && c <= 0x7a ? c - 32 : c;
    }
    return String.fromCharCodes(units);
  }

  private count(batch: Batch): void {
    const to = batch.newValues<i64>(this.added, batch.rows);
    if (!to) return;
    for (let i = 0; i < batch.rows; i++) to[i] = this.seen++;
  }

  private double(batch: Batch): void {
    const from = batch.values<i64>(this.n), to = batch.newValues<i64>(this.n, batch.rows);
    const seven = batch.newBools(this.added, batch.rows);
    if (!to || !seven) return;
    batch.keepNulls(this.n, this.n);
    batch.keepNulls(this.added, this.n);
    for (let i = 0; i < batch.rows; i++) {
      to[i] = from[i] * 2;
      seven[i] = from[i] == 7;
      if (from[i] == 77 && !batch.setNull(this.n, batch.rows, i)) return;
    }
  }

  private constants(batch: Batch): void {
    const rows = batch.rows;
    const number = batch.newValues<f64>(this.added, rows), text = batch.newText(this.added + 1, rows, rows * this.text.length);
    const flag = batch.newBools(this.added + 2, rows), sum = batch.newValues<f64>(this.added + 3, rows);
    const keys = batch.newText(this.added + 4, rows, rows * this.keys.length);
    if (!number || !text || !flag || !sum || !keys) return;
    for (let i = 0; i < rows; i++) {
      number[i] = this.number;
      sum[i] = this.sum;
      flag[i] = this.flag;
      text.addUtf8(this.text);
      keys.addUtf8(this.keys);
    }
  }
}

serve(new Conformance());
