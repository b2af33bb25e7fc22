//! The kernel of the benchmark, as filter.c has it: keep rows with temp > 30, and of their columns id, name and temp.

use weir::{Batch, Column, Operator, Output, Result, Schema, Value};

struct Filter {
    temp: Column<f64>,
}

impl Operator for Filter {
    fn open(_: Value, input: &Schema) -> Result<(Self, Schema)> {
        let mut output = Schema::new();
        for field in input.fields() {
            if ["id", "name", "temp"].contains(&field.name.as_str()) {
                output.pass(field);
            }
        }
        output.keep_rows();
        Ok((Filter { temp: input.column("temp")? }, output))
    }

    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let temp = batch.column(self.temp);
        out.filter(|row| temp.is_valid(row) & (temp.value(row) > 30.0))
    }
}

weir::operator!(Filter);
