/**
 * Write weir operators in AssemblyScript: typed views of the input columns, builders for the output columns, the
 * configuration, errors and logging, over ABI v1 (operators/abi/ABI.md).
 *
 * An operator is a class that extends Operator, one object of it given to serve, and the exports of this library:
 *
 *     import { Batch, Operator, Plan, Type, serve } from "weir";
 *     export * from "weir/exports";
 *
 *     class Shift extends Operator {
 *       temp: i32 = 0;
 *       offset: f64 = 0;
 *
 *       open(plan: Plan): void {
 *         this.temp = plan.column("temp", Type.Float64);
 *         this.offset = plan.config.get("offset").number(0);
 *         plan.passAll();
 *       }
 *
 *       process(batch: Batch): void {
 *         const from = batch.values<f64>(this.temp);
 *         const to = batch.newValues<f64>(this.temp, batch.rows);
 *         if (!to) return; // no room: the host calls again with fewer rows
 *         for (let i = 0; i < batch.rows; i++) to[i] = from[i] + this.offset;
 *         batch.keepNulls(this.temp, this.temp);
 *       }
 *     }
 *
 *     serve(new Shift());
 *
 * asc needs these flags: --path operators/sdk/assemblyscript (where "weir" is), --exportStart _initialize (a start function
 * is refused: it would run before the host is ready), --use abort=~lib/weir/guest/weirAbort (there is no import env.abort; a
 * failed assertion becomes the reason of the failure). The default runtime, with its collector, is fine.
 *
 * What a row becomes must depend on that row and the configuration alone: batches may be cut anywhere and run again. Views
 * and builders point into memory that the host fills anew after each call: keep none of them.
 */

export { Batch } from "./batch";
export { Bits, Text, TextBuilder, Utf8, Values } from "./views";
export { BoolListBuilder, Items, ListBuilder, Lists, TextListBuilder } from "./lists";
export { Json } from "./config";
export { Level, Operator, log, serve } from "./guest";
export { Plan } from "./plan";
export { Type, isList, itemOf } from "./types";
