/** What the host calls of a StatefulOperator, beside weir/exports: export * from "weir/exports_state". */
export { weir_restore, weir_snapshot } from "./state";
