// The conformance guest in AssemblyScript. What each mode does is in ../../README.md.

import { Batch, Level, Operator, Plan, Text, Type, Utf8, isList, itemOf, log, serve } from "weir";
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
    if (mode == "take" || mode == "repeat" || mode == "explode") plan.keepRows();
    if (mode == "repeat") this.added = plan.add("copy", Type.Int32, false);
    else if (mode == "upper") {
      this.s = plan.column("s", Type.String);
      this.added = plan.add("size", Type.Uint32, true);
    } else if (mode == "count") this.added = plan.add("seen", Type.Int64, false);
    else if (mode == "double") this.added = plan.add("seven", Type.Bool, true);
    else if (mode == "refuse") plan.refuse(plan.config.get("message").text(""));
    else if (mode == "config") this.openConfig(plan);
    else if (mode == "explode") {
      this.n = plan.column("xs", Type.List | Type.Float64);
      this.added = plan.add("i", Type.Int32, false);
      plan.add("x", Type.Float64, false);
    } else if (mode == "lists") {
      this.n = plan.column("xs", Type.List | Type.Float64);
      this.s = plan.column("ss", Type.List | Type.String);
      this.added = plan.add("positive", Type.List | Type.Bool, false);
    }
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
    else if (mode == "explode") this.explode(batch);
    else if (mode == "lists") this.lists(batch);
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
      if (isList(this.types[c])) {
        if (!this.copyLists(batch, c)) return;
        batch.keepNulls(c, c);
        continue;
      }
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

  private copyLists(batch: Batch, c: i32): bool {
    switch (itemOf(this.types[c])) {
      case Type.Bool: {
        const lists = batch.lists(c), from = batch.itemBools(c), to = batch.newBoolLists(c, batch.rows, lists.total);
        if (!to) return false;
        for (let i = 0; i < batch.rows; i++, to.end()) {
          for (let k = lists.from(i); k < lists.to(i); k++) to.add(from[k]);
        }
        return true;
      }
      case Type.String:
      case Type.Binary: {
        const lists = batch.lists(c), from = batch.itemText(c);
        const to = batch.newTextLists(c, batch.rows, lists.total, from.between(0, lists.total));
        if (!to) return false;
        for (let i = 0; i < batch.rows; i++, to.end()) {
          for (let k = lists.from(i); k < lists.to(i); k++) to.addFrom(from, k);
        }
        return true;
      }
      case Type.Int8:
      case Type.Uint8: return this.copyFixedLists<u8>(batch, c);
      case Type.Int16:
      case Type.Uint16: return this.copyFixedLists<u16>(batch, c);
      case Type.Int32:
      case Type.Uint32:
      case Type.Date32: return this.copyFixedLists<u32>(batch, c);
      case Type.Float32: return this.copyFixedLists<f32>(batch, c);
      case Type.Float64: return this.copyFixedLists<f64>(batch, c);
      default: return this.copyFixedLists<u64>(batch, c);
    }
  }

  private copyFixedLists<T>(batch: Batch, c: i32): bool {
    const lists = batch.lists(c), from = batch.itemValues<T>(c), to = batch.newLists<T>(c, batch.rows, lists.total);
    if (!to) return false;
    for (let i = 0; i < batch.rows; i++, to.end()) {
      for (let k = lists.from(i); k < lists.to(i); k++) to.add(from[k]);
    }
    return true;
  }

  private explode(batch: Batch): void {
    const lists = batch.lists(this.n), from = batch.itemValues<f64>(this.n);
    let made = 0;
    for (let i = 0; i < batch.rows; i++) made += lists.length(i);
    const rows = batch.selection(made), index = batch.newValues<i32>(this.added, made), x = batch.newValues<f64>(this.added + 1, made);
    if (!rows || !index || !x) return;
    let at = 0;
    for (let i = 0; i < batch.rows; i++) {
      for (let k = lists.from(i); k < lists.to(i); k++, at++) {
        rows[at] = i;
        index[at] = k - lists.from(i);
        x[at] = from[k];
      }
    }
    batch.take(rows, made);
  }

  private lists(batch: Batch): void {
    const numbers = batch.lists(this.n), x = batch.itemValues<f64>(this.n), texts = batch.lists(this.s), s = batch.itemText(this.s);
    const rest = batch.newLists<f64>(this.n, batch.rows, numbers.total);
    const flags = batch.newBoolLists(this.added, batch.rows, numbers.total);
    const reversed = batch.newTextLists(this.s, batch.rows, texts.total, s.between(0, texts.total));
    if (!rest || !flags || !reversed) return;
    for (let i = 0; i < batch.rows; i++) {
      for (let k = numbers.from(i); k < numbers.to(i); k++) {
        flags.add(x[k] > 0);
        if (k > numbers.from(i)) rest.add(x[k]);
      }
      for (let k = texts.to(i) - 1; k >= texts.from(i); k--) {
        if (s.length(k)) reversed.addFrom(s, k);
      }
      rest.end();
      flags.end();
      reversed.end();
    }
    batch.keepNulls(this.n, this.n);
    batch.keepNulls(this.s, this.s);
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
