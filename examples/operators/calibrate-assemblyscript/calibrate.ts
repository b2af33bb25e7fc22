// Calibrate corrects a temperature column by an offset per device class. It does what calibrate.c beside it does, in
// AssemblyScript; that file has the configuration.

import { Batch, Operator, Plan, Text, Type, Utf8, serve } from "weir";
export * from "weir/exports";

class Calibrate extends Operator {
  column: i32 = 0;
  by: i32 = 0;
  scale: f64 = 1;
  offset: f64 = 0;
  classes: Utf8[] = [];
  offsets: f64[] = [];

  open(plan: Plan): void {
    plan.configKeys(["column", "scale", "offset", "by", "classes"]);
    const config = plan.config;
    this.scale = config.get("scale").number(1);
    this.offset = config.get("offset").number(0);
    this.column = plan.column(config.get("column").text("temp"), Type.Float64);
    const classes = config.get("classes"), names = classes.keys();
    for (let i = 0; i < names.length; i++) {
      this.classes.push(new Utf8(names[i]));
      this.offsets.push(classes.get(names[i]).number(0));
    }
    if (names.length) this.by = plan.column(config.get("by").text("device"), Type.String);
    plan.passAll();
  }

  process(batch: Batch): void {
    const from = batch.values<f64>(this.column);
    const to = batch.newValues<f64>(this.column, batch.rows);
    if (!to) return;
    if (this.classes.length) {
      const devices = batch.text(this.by);
      for (let i = 0; i < batch.rows; i++) to[i] = from[i] * this.scale + this.offsetOf(devices, i);
    } else {
      for (let i = 0; i < batch.rows; i++) to[i] = from[i] * this.scale + this.offset;
    }
    batch.keepNulls(this.column, this.column);
  }

  offsetOf(devices: Text, row: i32): f64 {
    const n = devices.indexOf(row, 0x2d); // of "-"
    for (let i = 0; i < this.classes.length; i++) {
      if (devices.starts(row, n, this.classes[i])) return this.offsets[i];
    }
    return this.offset;
  }
}

serve(new Calibrate());
