//! Calibrate corrects a temperature column by an offset per device class. It does what calibrate.c beside it does, in Rust;
//! that file has the configuration.

use weir::{Batch, Column, Operator, Output, Result, Schema, Target, Value};

struct Calibrate {
    column: Column<f64>,
    corrected: Target<f64>,
    scale: f64,
    offset: f64,
    classes: Option<(Column<str>, Vec<(String, f64)>)>,
}

impl Operator for Calibrate {
    fn open(config: Value, input: &Schema) -> Result<(Self, Schema)> {
        config.only(&["column", "scale", "offset", "by", "classes"])?;
        let name = |key, otherwise: &str| config.get(key).string().unwrap_or_else(|| otherwise.into());
        let column = input.column(&name("column", "temp"))?;
        let mut output = input.clone();
        let mut op = Calibrate {
            column,
            corrected: output.replace(column)?,
            scale: config.get("scale").f64().unwrap_or(1.0),
            offset: config.get("offset").f64().unwrap_or(0.0),
            classes: None,
        };
        let classes: Vec<_> = config.get("classes").entries().map(|(class, v)| (class, v.f64().unwrap_or(0.0))).collect();
        if !classes.is_empty() {
            op.classes = Some((input.column(&name("by", "device"))?, classes));
        }
        Ok((op, output))
    }

    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let values = batch.column(self.column).as_slice();
        let corrected = out.values(self.corrected, batch.rows())?;
        match &self.classes {
            None => {
                for (to, v) in corrected.iter_mut().zip(values) {
                    *to = v * self.scale + self.offset;
                }
            }
            Some((by, classes)) => {
                let devices = batch.column(*by);
                for (i, (to, v)) in corrected.iter_mut().zip(values).enumerate() {
                    let class = devices.value(i).split('-').next();
                    let found = classes.iter().find(|(name, _)| Some(name.as_str()) == class);
                    *to = v * self.scale + found.map_or(self.offset, |(_, offset)| *offset);
                }
            }
        }
        out.keep_nulls(self.corrected, self.column);
        Ok(())
    }
}

weir::operator!(Calibrate);
