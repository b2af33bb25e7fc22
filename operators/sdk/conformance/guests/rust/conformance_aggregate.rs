//! The guest of the conformance suite's aggregate in Rust; operators/sdk/conformance/README.md says what it does.

use std::ops::Range;

use weir::{Aggregate, Batch, Column, Result, Schema, Value};

struct Journal {
    n: Column<i64>,
    s: Column<str>,
}

struct State {
    count: u64,
    sum: i64,
    text: Vec<u8>,
}

impl Aggregate for Journal {
    type State = State;
    type Answer = Option<String>;

    fn open(config: Value, args: &Schema) -> Result<Self> {
        if let Some(message) = config.get("message").string() {
            return Err(message.to_string().into());
        }
        Ok(Journal { n: args.column("n")?, s: args.column("s")? })
    }

    fn init(&self) -> State {
        State { count: 0, sum: 0, text: Vec::new() }
    }

    fn load(&self, bytes: &[u8]) -> Result<State> {
        if bytes.len() < 16 {
            return Err("a state is too short".into());
        }
        let word = |at: usize| {
            let mut w = [0; 8];
            w.copy_from_slice(&bytes[at..at + 8]);
            w
        };
        Ok(State { count: u64::from_le_bytes(word(0)), sum: i64::from_le_bytes(word(8)), text: bytes[16..].to_vec() })
    }

    fn save(&self, state: &State, to: &mut Vec<u8>) {
        to.extend_from_slice(&state.count.to_le_bytes());
        to.extend_from_slice(&state.sum.to_le_bytes());
        to.extend_from_slice(&state.text);
    }

    fn accumulate(&self, state: &mut State, batch: &Batch, rows: Range<usize>) -> Result<()> {
        let (n, s) = (batch.column(self.n), batch.column(self.s));
        for row in rows {
            let n = match n.get(row) {
                Some(13) => return Err("a row has n = 13".into()),
                Some(n) => n,
                None => continue,
            };
            state.count += 1;
            state.sum = state.sum.wrapping_add(n);
            state.text.extend_from_slice(s.value(row).as_bytes());
        }
        Ok(())
    }

    fn merge(&self, state: &mut State, other: State) -> Result<()> {
        state.count += other.count;
        state.sum = state.sum.wrapping_add(other.sum);
        state.text.extend_from_slice(&other.text);
        Ok(())
    }

    fn finish(&self, state: &State) -> Result<Option<String>> {
        if state.count == 0 {
            return Ok(None);
        }
        let text = std::str::from_utf8(&state.text).map_err(|_| "a state has text that is not UTF-8")?;
        Ok(Some([&state.count.to_string(), " ", &state.sum.to_string(), " ", text].concat()))
    }
}

weir::aggregate!(Journal);
