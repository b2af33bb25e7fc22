// Severity keeps readings from a warning level up, and says how bad they are in a new column. It does what severity.c
// beside it does, in AssemblyScript; that file has the configuration.

import { Batch, Operator, Plan, Type, Utf8, serve } from "weir";
export * from "weir/exports";

class Severity extends Operator {
  column: i32 = 0;
  severity: i32 = 0;
  warning: f64 = 0;
  critical: f64 = 0;
  words: StaticArray<Utf8> = [new Utf8("warning"), new Utf8("critical")];

  open(plan: Plan): void {
    const config = plan.config;
    this.column = plan.column(config.get("column").text("temp"), Type.Float64);
    this.warning = config.get("warning").number(60);
    this.critical = config.get("critical").number(80);
    if (this.critical < this.warning) plan.refuse("config.critical is below config.warning");
    plan.passAll();
    this.severity = plan.add("severity", Type.String, false);
    plan.keepRows();
  }

  process(batch: Batch): void {
    const values = batch.values<f64>(this.column);
    const rows = batch.selection(batch.rows);
    if (!rows) return;
    let kept = 0;
    for (let i = 0; i < batch.rows; i++) {
      if (values[i] >= this.warning && batch.valid(this.column, i)) rows[kept++] = i;
    }
    const words = batch.newText(this.severity, kept, 8 * kept);
    if (!words) return;
    for (let i = 0; i < kept; i++) words.addUtf8(this.words[i32(values[rows[i]] >= this.critical)]);
    batch.take(rows, kept);
  }
}

serve(new Severity());
