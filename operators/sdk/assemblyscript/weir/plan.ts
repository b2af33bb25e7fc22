import { Json } from "./config";
import { Type, nameOf } from "./types";

/** A column of the output: its place in the input where it is passed, or -1. */
@final
export class Declared {
  constructor(readonly name: string, readonly type: Type, public nullable: bool, readonly source: i32) {}
}

/** What an operator sees when it is opened: the input columns, the configuration, and the output columns to declare. */
@final
export class Plan {
  /** The configuration of the step. */
  readonly config: Json;
  readonly names: string[] = [];
  readonly types: Type[] = [];
  readonly nulls: bool[] = [];
  readonly out: Declared[] = [];
  rows: bool = false;
  error: string = "";
  refused: bool = false;

  constructor(config: string) {
    this.config = new Json(config.trim());
  }

  /** How many input columns there are; they are numbered from 0. */
  get columns(): i32 {
    return this.names.length - 1; // the last one is the hidden row column
  }

  /** The name of an input column. */
  name(column: i32): string {
    return this.names[column];
  }

  /** The type of an input column. */
  type(column: i32): Type {
    return this.types[column];
  }

  /** Whether an input column may hold nulls. */
  nullable(column: i32): bool {
    return this.nulls[column];
  }

  /** The number of the named input column, or -1. */
  find(name: string): i32 {
    const i = this.names.indexOf(name);
    return i < this.columns ? i : -1;
  }

  /**
   * The number of an input column that the operator needs. Where it is missing or of another type, the operator is refused
   * with a message that says so, and the number is of no use.
   */
  column(name: string, type: Type): i32 {
    const c = this.find(name);
    if (c < 0) {
      this.refuse("needs a column " + name + " of type " + nameOf(type) + "; there is none of this name");
      return 0;
    }
    if (type != Type.Any && this.types[c] != type) {
      this.refuse("needs column " + name + " of type " + nameOf(type) + "; it is " + nameOf(this.types[c]));
    }
    return c;
  }

  /** Says which keys the configuration may have. One that has another, a misspelled one as a rule, is refused with a message that names it. */
  configKeys(keys: string[]): void {
    const have = this.config.keys();
    for (let i = 0; i < have.length; i++) {
      if (!keys.includes(have[i])) this.refuse('config has no key "' + have[i] + '"; there are: ' + keys.join(" "));
    }
  }

  /** Makes the operator refuse its input or configuration, when open returns. The first reason counts. */
  refuse(why: string): void {
    if (!this.refused) this.error = why;
    this.refused = true;
  }

  /**
   * Declares an output column that is an input column, untouched unless a batch makes new values for it. It returns the
   * number of the output column.
   */
  pass(column: i32): i32 {
    this.out.push(new Declared(this.names[column], this.types[column], this.nulls[column], column));
    return this.out.length - 1;
  }

  /** Passes every input column, so that input and output columns have the same numbers. */
  passAll(): void {
    for (let i = 0; i < this.columns; i++) this.pass(i);
  }

  /** Declares a new output column, which every batch must make. It returns the number of the output column. */
  add(name: string, type: Type, nullable: bool): i32 {
    this.out.push(new Declared(name, type, nullable, -1));
    return this.out.length - 1;
  }

  /** Says whether an output column may hold nulls, where a passed column gets new values. */
  replaces(out: i32, nullable: bool): void {
    this.out[out].nullable = nullable;
  }

  /** Says that the operator drops or adds rows, with Batch.take: the host learns which row each one comes from. */
  keepRows(): void {
    this.rows = true;
  }
}
