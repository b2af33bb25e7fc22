/** What the host calls of an aggregate. Its main file exports it all: export * from "weir/aggregate_exports". */
export { weir_abi, weir_alloc, weir_open } from "./guest";
export { weir_accumulate, weir_finish, weir_merge } from "./aggregate";
