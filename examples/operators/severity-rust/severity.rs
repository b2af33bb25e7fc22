//! Severity keeps readings from a warning level up, and says how bad they are in a new column. It does what severity.c
//! beside it does, in Rust; that file has the configuration.

use weir::{Batch, Column, Operator, Output, Result, Schema, Target, Value};

struct Severity {
    column: Column<f64>,
    severity: Target<str>,
    warning: f64,
    critical: f64,
    kept: Vec<u32>, // of one batch; here to keep its memory
}

impl Operator for Severity {
    fn open(config: Value, input: &Schema) -> Result<(Self, Schema)> {
        let number = |key, otherwise| config.get(key).f64().unwrap_or(otherwise);
        let (warning, critical) = (number("warning", 60.0), number("critical", 80.0));
        if critical < warning {
            return Err("config.critical is below config.warning".into());
        }
        let column = input.column(config.get("column").string().as_deref().unwrap_or("temp"))?;
        let mut output = input.clone();
        let severity = output.add("severity", false);
        output.keep_rows();
        Ok((Severity { column, severity, warning, critical, kept: Vec::new() }, output))
    }

    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let values = batch.column(self.column);
        self.kept.clear();
        for (i, v) in values.iter().enumerate() {
            if v >= Some(self.warning) {
                self.kept.push(i as u32);
            }
        }
        let n = self.kept.len();
        let mut words = out.strings(self.severity, n, n * "critical".len())?;
        for &row in &self.kept {
            words.push(if values.value(row as usize) >= self.critical { "critical" } else { "warning" });
        }
        out.take(&self.kept)
    }
}

weir::operator!(Severity);
