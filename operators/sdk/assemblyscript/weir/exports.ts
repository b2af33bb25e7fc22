/** What the host calls. The main file of an operator exports it all: export * from "weir/exports". */
export { weir_abi, weir_alloc, weir_open, weir_process, weir_windows } from "./guest";
