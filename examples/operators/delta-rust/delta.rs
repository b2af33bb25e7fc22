//! Delta says what a counter has gone up by since its device's reading before. It does what delta.c beside it does, in
//! Rust; that file has the configuration. Keys may be of any length here.

use std::collections::BTreeMap;
use std::convert::TryInto;

use weir::{Batch, Column, Operator, Output, Result, Schema, Stateful, Target, Value};

struct Delta {
    key: Column<str>,
    counter: Column<i64>,
    delta: Target<i64>,
    last: BTreeMap<String, i64>,
}

impl Operator for Delta {
    fn open(config: Value, input: &Schema) -> Result<(Self, Schema)> {
        let key = input.column(config.get("key").string().as_deref().unwrap_or("device"))?;
        let counter = input.column(config.get("counter").string().as_deref().unwrap_or("counter"))?;
        let mut output = input.clone();
        let delta = output.add("delta", true);
        Ok((Delta { key, counter, delta, last: BTreeMap::new() }, output))
    }

    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let (devices, counters) = (batch.column(self.key), batch.column(self.counter));
        let mut deltas = out.builder(self.delta, batch.rows())?;
        for row in 0..batch.rows() {
            let (device, now) = match (devices.get(row), counters.get(row)) {
                (Some(device), Some(now)) => (device, now),
                _ => {
                    deltas.push_null();
                    continue;
                }
            };
            if now < 0 {
                return Err("a counter is negative".into());
            }
            match self.last.get_mut(device) {
                Some(last) => {
                    deltas.push(if now >= *last { now - *last } else { now });
                    *last = now;
                }
                None => {
                    deltas.push_null();
                    self.last.insert(device.to_string(), now);
                }
            }
        }
        Ok(())
    }
}

impl Stateful for Delta {
    /// For each device, the length of its name, its last reading, and the name.
    fn save(&self, state: &mut Vec<u8>) -> Result<()> {
        for (device, last) in &self.last {
            state.extend_from_slice(&(device.len() as u32).to_le_bytes());
            state.extend_from_slice(&last.to_le_bytes());
            state.extend_from_slice(device.as_bytes());
        }
        Ok(())
    }

    fn restore(&mut self, mut state: &[u8]) -> Result<()> {
        while !state.is_empty() {
            let number = |range: std::ops::Range<usize>| state.get(range).ok_or("a damaged state");
            let n = u32::from_le_bytes(number(0..4)?.try_into().unwrap_or_default()) as usize;
            let last = i64::from_le_bytes(number(4..12)?.try_into().unwrap_or_default());
            let name = std::str::from_utf8(number(12..12 + n)?).map_err(|_| "a damaged state")?;
            self.last.insert(name.to_string(), last);
            state = &state[12 + n..];
        }
        Ok(())
    }
}

weir::stateful_operator!(Delta);
