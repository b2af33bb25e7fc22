//! Explode makes a row for every item of a list of float64. It does what explode.c does, which takes lists of any type; that file
//! has the configuration.

use weir::{Batch, Column, List, Operator, Output, Result, Schema, Target, Value};

struct Explode {
    list: Column<List<f64>>,
    item: Target<f64>,
    place: Option<Target<i32>>,
    rows: Vec<u32>, // of one batch; here to keep its memory
}

impl Operator for Explode {
    fn open(config: Value, input: &Schema) -> Result<(Self, Schema)> {
        let list = input.column(config.get("list").string().as_deref().unwrap_or("values"))?;
        let mut output = Schema::new();
        input.fields().iter().enumerate().filter(|(i, _)| *i != list.index()).for_each(|(_, f)| output.pass(f));
        let item = output.add(config.get("as").string().as_deref().unwrap_or("value"), false);
        let place = config.get("index").string().map(|name| output.add(&name, false));
        output.keep_rows();
        Ok((Explode { list, item, place, rows: Vec::new() }, output))
    }

    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let lists = batch.column(self.list);
        self.rows.clear();
        for (row, list) in lists.iter().enumerate() {
            self.rows.extend(list.iter().flat_map(|l| l.as_slice()).map(|_| row as u32));
        }
        let mut items = out.values(self.item, self.rows.len())?.iter_mut();
        let lists = || lists.iter().flatten().map(|l| l.as_slice());
        lists().flatten().zip(&mut items).for_each(|(from, to)| *to = *from);
        if let Some(place) = self.place {
            let places = out.values(place, self.rows.len())?.iter_mut();
            lists().flat_map(|l| 0..l.len() as i32).zip(places).for_each(|(from, to)| *to = from);
        }
        out.take(&self.rows)
    }
}

weir::operator!(Explode);
