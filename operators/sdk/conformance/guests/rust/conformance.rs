//! The conformance guest in Rust. What each mode does is in ../../README.md.

use weir::{log, Batch, Column, Fixed, Level, List, Operator, Output, Result, Schema, Target, Type, Value, Values};

enum Conformance {
    Pass,
    Copy(Vec<Copy>),
    Take(Column<i64>, Vec<u32>),
    Repeat(Column<i64>, Target<i32>),
    Upper(Column<str>, Target<str>, Target<u32>),
    Count(Target<i64>, i64),
    Double(Column<i64>, Target<i64>, Target<bool>),
    Fail(Column<i64>),
    Panic(Column<i64>),
    Constants(Constants),
    Log,
    Explode(Column<List<f64>>, Target<i32>, Target<f64>),
    Lists(Column<List<f64>>, Target<List<f64>>, Column<List<str>>, Target<List<str>>, Target<List<bool>>),
}

/// A column that is copied.
enum Copy {
    Bool(Column<bool>, Target<bool>),
    I8(Column<i8>, Target<i8>),
    I16(Column<i16>, Target<i16>),
    I32(Column<i32>, Target<i32>),
    I64(Column<i64>, Target<i64>),
    U8(Column<u8>, Target<u8>),
    U16(Column<u16>, Target<u16>),
    U32(Column<u32>, Target<u32>),
    U64(Column<u64>, Target<u64>),
    F32(Column<f32>, Target<f32>),
    F64(Column<f64>, Target<f64>),
    String(Column<str>, Target<str>),
    Binary(Column<[u8]>, Target<[u8]>),
    List(Box<dyn Fn(&Batch, &mut Output) -> Result<()>>),
}

struct Constants {
    number: (Target<f64>, f64),
    text: (Target<str>, String),
    flag: (Target<bool>, bool),
    sum: (Target<f64>, f64),
    keys: (Target<str>, String),
}

impl Operator for Conformance {
    fn open(config: Value, input: &Schema) -> Result<(Self, Schema)> {
        let mut out = input.clone();
        let n = || input.column::<i64>("n");
        let op = match config.get("mode").string().as_deref() {
            Some("pass") => Conformance::Pass,
            Some("copy") => {
                let columns = (0..input.fields().len()).map(|i| Copy::open(input, &mut out, i));
                Conformance::Copy(columns.collect::<Result<_>>()?)
            }
            Some("take") => {
                out.keep_rows();
                Conformance::Take(n()?, Vec::new())
            }
            Some("repeat") => {
                out.keep_rows();
                Conformance::Repeat(n()?, out.add("copy", false))
            }
            Some("upper") => {
                let s = input.column("s")?;
                Conformance::Upper(s, out.replace(s)?, out.add("size", true))
            }
            Some("count") => Conformance::Count(out.add("seen", false), 0),
            Some("double") => Conformance::Double(n()?, out.replace(n()?)?, out.add("seven", true)),
            Some("fail") => Conformance::Fail(n()?),
            Some("panic") => Conformance::Panic(n()?),
            Some("refuse") => return Err(config.get("message").string().unwrap_or_default().into()),
            Some("config") => Conformance::Constants(Constants::open(config, &mut out)),
            Some("log") => Conformance::Log,
            Some("explode") => {
                out.keep_rows();
                Conformance::Explode(input.column("xs")?, out.add("i", false), out.add("x", false))
            }
            Some("lists") => {
                let (xs, ss) = (input.column("xs")?, input.column("ss")?);
                Conformance::Lists(xs, out.replace(xs)?, ss, out.replace(ss)?, out.add("positive", false))
            }
            _ => return Err("config.mode is not one of the modes".into()),
        };
        Ok((op, out))
    }

    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let rows = batch.rows();
        match self {
            Conformance::Pass => {}
            Conformance::Copy(columns) => columns.iter().try_for_each(|c| c.process(batch, out))?,
            Conformance::Take(n, kept) => {
                kept.clear();
                let even = batch.column(*n).iter().enumerate().filter(|(_, v)| matches!(v, Some(v) if v % 2 == 0));
                kept.extend(even.map(|(i, _)| i as u32));
                out.take(kept)?;
            }
            Conformance::Repeat(n, copy) => {
                let (mut taken, mut numbers) = (Vec::new(), Vec::new());
                for (i, times) in batch.column(*n).iter().enumerate() {
                    for k in 0..times.unwrap_or(0) {
                        taken.push(i as u32);
                        numbers.push(k as i32);
                    }
                }
                out.values(*copy, numbers.len())?.copy_from_slice(&numbers);
                out.take(&taken)?;
            }
            Conformance::Upper(s, target, size) => {
                let strings = batch.column(*s);
                let mut to = out.strings(*target, rows, strings.data_len())?;
                let mut sizes = out.builder(*size, rows)?;
                for s in strings.iter() {
                    to.push_option(s.map(|s| s.to_ascii_uppercase()).as_deref());
                    sizes.push_option(s.map(|s| s.len() as u32));
                }
            }
            Conformance::Count(target, seen) => {
                for to in out.values(*target, rows)? {
                    *to = *seen;
                    *seen += 1;
                }
            }
            Conformance::Double(n, target, seven) => {
                let values = batch.column(*n);
                for (to, v) in out.values(*target, rows)?.iter_mut().zip(values.as_slice()) {
                    *to = v.wrapping_mul(2);
                }
                if values.iter().any(|v| v == Some(77)) {
                    let mut nulls = out.nulls(*target, rows)?;
                    let null = values.iter().enumerate().filter(|(_, v)| matches!(v, None | Some(77)));
                    null.for_each(|(i, _)| nulls.set(i));
                } else {
                    out.keep_nulls(*target, *n);
                }
                let mut sevens = out.bools(*seven, rows)?;
                values.iter().for_each(|v| sevens.push_option(v.map(|v| v == 7)));
            }
            Conformance::Fail(n) => {
                if thirteen(batch.column(*n)) {
                    return Err("a row has n = 13: größer geht's nicht".into());
                }
            }
            Conformance::Panic(n) => {
                if thirteen(batch.column(*n)) {
                    panic!("thirteen");
                }
            }
            Conformance::Explode(xs, index, x) => {
                let lists = batch.column(*xs);
                let (mut taken, mut numbers, mut values) = (Vec::new(), Vec::new(), Vec::new());
                for (row, list) in lists.iter().enumerate() {
                    let items = list.map_or(&[][..], |l| l.as_slice());
                    taken.extend(items.iter().map(|_| row as u32));
                    numbers.extend(0..items.len() as i32);
                    values.extend_from_slice(items);
                }
                out.values(*index, numbers.len())?.copy_from_slice(&numbers);
                out.values(*x, values.len())?.copy_from_slice(&values);
                out.take(&taken)?;
            }
            Conformance::Lists(xs, rest, ss, reversed, positive) => {
                let (numbers, texts) = (batch.column(*xs), batch.column(*ss));
                let mut rest = out.lists(*rest, rows, numbers.item_count())?;
                let mut flags = out.bool_lists(*positive, rows, numbers.item_count())?;
                let mut reversed = out.string_lists(*reversed, rows, texts.item_count(), texts.items().data_len())?;
                for (xs, ss) in numbers.iter().zip(texts.iter()) {
                    match xs {
                        Some(xs) => {
                            xs.iter().for_each(|x| flags.push(x > Some(0.0)));
                            rest.push_list(xs.as_slice().get(1..).unwrap_or(&[]));
                        }
                        None => rest.push_null(),
                    }
                    flags.end();
                    match ss {
                        Some(ss) => {
                            ss.iter().rev().flatten().filter(|s| !s.is_empty()).for_each(|s| reversed.push(s));
                            reversed.end();
                        }
                        None => reversed.push_null(),
                    }
                }
            }
            Conformance::Constants(c) => {
                out.values(c.number.0, rows)?.fill(c.number.1);
                out.values(c.sum.0, rows)?.fill(c.sum.1);
                let mut flags = out.bools(c.flag.0, rows)?;
                let mut words = out.strings(c.text.0, rows, rows * c.text.1.len())?;
                let mut lists = out.strings(c.keys.0, rows, rows * c.keys.1.len())?;
                for _ in 0..rows {
                    flags.push(c.flag.1);
                    words.push(&c.text.1);
                    lists.push(&c.keys.1);
                }
            }
            Conformance::Log => {
                log(Level::Debug, "a debug line");
                log(Level::Info, "an info line");
                log(Level::Warn, "a warning");
                log(Level::Error, "an error: größer");
            }
        }
        Ok(())
    }
}

fn thirteen(n: Values<i64>) -> bool {
    n.iter().any(|v| v == Some(13))
}

impl Copy {
    fn open(input: &Schema, out: &mut Schema, i: usize) -> Result<Copy> {
        macro_rules! copy {
            ($variant:ident) => {{
                let column = input.column_at(i)?;
                Copy::$variant(column, out.replace(column)?)
            }};
        }
        if let Some(item) = input.fields()[i].kind.item() {
            return Ok(Copy::List(copy_list(input, out, i, item)?));
        }
        Ok(match input.fields()[i].kind {
            Type::Bool => copy!(Bool),
            Type::Int8 => copy!(I8),
            Type::Int16 => copy!(I16),
            Type::Int32 | Type::Date32 => copy!(I32),
            Type::Uint8 => copy!(U8),
            Type::Uint16 => copy!(U16),
            Type::Uint32 => copy!(U32),
            Type::Uint64 => copy!(U64),
            Type::Float32 => copy!(F32),
            Type::Float64 => copy!(F64),
            Type::String => copy!(String),
            Type::Binary => copy!(Binary),
            _ => copy!(I64),
        })
    }

    fn process(&self, batch: &Batch, out: &mut Output) -> Result<()> {
        let rows = batch.rows();
        if let Copy::List(copy) = self {
            return copy(batch, out);
        }
        match *self {
            Copy::List(_) => Ok(()),
            Copy::I8(c, t) => fixed(c, t, batch, out),
            Copy::I16(c, t) => fixed(c, t, batch, out),
            Copy::I32(c, t) => fixed(c, t, batch, out),
            Copy::I64(c, t) => fixed(c, t, batch, out),
            Copy::U8(c, t) => fixed(c, t, batch, out),
            Copy::U16(c, t) => fixed(c, t, batch, out),
            Copy::U32(c, t) => fixed(c, t, batch, out),
            Copy::U64(c, t) => fixed(c, t, batch, out),
            Copy::F32(c, t) => fixed(c, t, batch, out),
            Copy::F64(c, t) => fixed(c, t, batch, out),
            Copy::Bool(c, t) => {
                let mut to = out.bools(t, rows)?;
                batch.column(c).iter().for_each(|v| to.push_option(v));
                Ok(())
            }
            Copy::String(c, t) => {
                let from = batch.column(c);
                let mut to = out.strings(t, rows, from.data_len())?;
                from.iter().for_each(|v| to.push_option(v));
                Ok(())
            }
            Copy::Binary(c, t) => {
                let from = batch.column(c);
                let mut to = out.binary(t, rows, from.data_len())?;
                from.iter().for_each(|v| to.push_option(v));
                Ok(())
            }
        }
    }
}

fn copy_list(input: &Schema, out: &mut Schema, i: usize, item: Type) -> Result<Box<dyn Fn(&Batch, &mut Output) -> Result<()>>> {
    macro_rules! copy {
        ($t:ty, $from:ident, $to:ident, $make:expr) => {{
            let column: Column<List<$t>> = input.column_at(i)?;
            let target = out.replace(column)?;
            Ok(Box::new(move |batch, $to| {
                let $from = batch.column(column);
                let mut to = $make(target, batch.rows(), $from.item_count())?;
                for list in $from.iter() {
                    match list {
                        Some(list) => {
                            list.iter().flatten().for_each(|v| to.push(v));
                            to.end();
                        }
                        None => to.push_null(),
                    }
                }
                Ok(())
            }))
        }};
        ($t:ty) => {
            copy!($t, from, out, |t, rows, items| out.lists(t, rows, items))
        };
    }
    match item {
        Type::Bool => copy!(bool, from, out, |t, rows, items| out.bool_lists(t, rows, items)),
        Type::String => copy!(str, from, out, |t, rows, items| out.string_lists(t, rows, items, from.items().data_len())),
        Type::Binary => copy!([u8], from, out, |t, rows, items| out.binary_lists(t, rows, items, from.items().data_len())),
        Type::Int8 => copy!(i8),
        Type::Int16 => copy!(i16),
        Type::Int32 | Type::Date32 => copy!(i32),
        Type::Uint8 => copy!(u8),
        Type::Uint16 => copy!(u16),
        Type::Uint32 => copy!(u32),
        Type::Uint64 => copy!(u64),
        Type::Float32 => copy!(f32),
        Type::Float64 => copy!(f64),
        _ => copy!(i64),
    }
}

fn fixed<T: Fixed>(column: Column<T>, target: Target<T>, batch: &Batch, out: &mut Output) -> Result<()> {
    let mut to = out.builder(target, batch.rows())?;
    batch.column(column).iter().for_each(|v| to.push_option(v));
    Ok(())
}

impl Constants {
    fn open(config: Value, out: &mut Schema) -> Constants {
        let entries: Vec<_> = config.get("entries").entries().collect();
        let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
        Constants {
            number: (out.add("number", false), config.get("number").f64().unwrap_or(-1.0)),
            text: (out.add("text", false), config.get("text").string().unwrap_or_else(|| "none".into())),
            flag: (out.add("flag", false), config.get("flag").bool().unwrap_or(false)),
            sum: (out.add("sum", false), entries.iter().filter_map(|(_, v)| v.f64()).sum()),
            keys: (out.add("keys", false), keys.join(",")),
        }
    }
}

weir::operator!(Conformance);
