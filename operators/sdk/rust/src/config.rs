use crate::error::Result;

/// A JSON value of the configuration, or one that is not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// A value of JSON text, which the caller knows to be JSON: anything else gives any values.
    pub fn new(json: &'a str) -> Value<'a> {
        Value(space(json).trim_end())
    }

    /// Tells whether it is there.
    pub fn exists(&self) -> bool {
        !self.0.is_empty()
    }

    /// The value of an object by its key.
    pub fn get(&self, key: &str) -> Value<'a> {
        let same = |k: &Value| k.inside() == key || k.inside().contains('\\') && k.string().as_deref() == Some(key);
        self.raw_entries().find(|(k, _)| same(k)).map(|(_, v)| v).unwrap_or_default()
    }

    /// The entries of an object, in order.
    pub fn entries(&self) -> impl Iterator<Item = (String, Value<'a>)> {
        self.raw_entries().map(|(k, v)| (k.string().unwrap_or_default(), v))
    }

    /// Says which keys an object may have. One that has another, a misspelled one as a rule, is an error that names it.
    pub fn only(&self, keys: &[&str]) -> Result<()> {
        match self.entries().find(|(key, _)| !keys.contains(&key.as_str())) {
            Some((key, _)) => Err(["config has no key \"", &key, "\"; there are: ", &keys.join(" ")].concat().into()),
            None => Ok(()),
        }
    }

    /// The elements of an array, in order.
    pub fn elements(&self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = if self.0.starts_with('[') { self.0 } else { "" };
        std::iter::from_fn(move || {
            let value = next(&mut rest, &['[', ','])?;
            Some(value)
        })
    }

    fn raw_entries(&self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        let mut rest = if self.0.starts_with('{') { self.0 } else { "" };
        std::iter::from_fn(move || {
            let key = next(&mut rest, &['{', ','])?;
            Some((key, next(&mut rest, &[':'])?))
        })
    }

    /// A number. It is exact where it has up to 15 digits and an exponent up to 22, as what people write does, and within a few
    /// units of the last place otherwise: `json().parse()` is always exact, and costs 17 KB of module.
    pub fn f64(&self) -> Option<f64> {
        let (negative, digits) = match self.0.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            all => (false, all),
        };
        if !digits.first()?.is_ascii_digit() {
            return None;
        }
        let (mut mantissa, mut exponent, mut below) = (0u64, 0i32, 0);
        let mut rest = digits.iter();
        for &c in &mut rest {
            match c {
                b'0'..=b'9' if mantissa < u64::MAX / 10 - 1 => {
                    mantissa = mantissa * 10 + u64::from(c - b'0');
                    exponent -= below;
                }
                b'0'..=b'9' => exponent += 1 - below, // beyond what a float can tell
                b'.' => below = 1,
                _ => {
                    let text = std::str::from_utf8(rest.as_slice()).ok()?;
                    exponent = exponent.saturating_add(text.parse::<i32>().ok()?.clamp(-9999, 9999));
                    break;
                }
            }
        }
        let scale = |n: i32| {
            let bits = POWERS.iter().enumerate().filter(|(bit, _)| n.min(308) >> bit & 1 != 0);
            bits.fold(1.0, |f, (_, power)| f * power)
        };
        let mut value = mantissa as f64;
        while exponent < 0 && value != 0.0 {
            value /= scale(-exponent);
            exponent = exponent.saturating_add(308).min(0);
        }
        while exponent > 0 && value != 0.0 && value.is_finite() {
            value *= scale(exponent);
            exponent = (exponent - 308).max(0);
        }
        Some(if negative { -value } else { value })
    }

    /// A number without fraction and exponent.
    pub fn i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// True or false.
    pub fn bool(&self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// A string, its escapes decoded. Half of a surrogate pair becomes U+FFFD.
    pub fn string(&self) -> Option<String> {
        if !self.0.starts_with('"') {
            return None;
        }
        let mut units = Vec::new(); // of UTF-16: that is what JSON escapes
        let mut chars = self.inside().chars();
        while let Some(c) = chars.next() {
            let c = match c {
                '\\' => match chars.next()? {
                    'u' => {
                        let hex: String = chars.by_ref().take(4).collect();
                        units.push(u16::from_str_radix(&hex, 16).ok()?);
                        continue;
                    }
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => other,
                },
                c => c,
            };
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
        Some(String::from_utf16_lossy(&units))
    }

    /// The value as it is written, for a JSON crate.
    pub fn json(&self) -> &'a str {
        self.0
    }

    /// What is between the quotes of a string.
    fn inside(&self) -> &'a str {
        self.0.get(1..self.0.len().max(2) - 1).unwrap_or("")
    }
}

/// 10 to the powers 1, 2, 4, 8 and so on.
const POWERS: [f64; 9] = [1e1, 1e2, 1e4, 1e8, 1e16, 1e32, 1e64, 1e128, 1e256];

/// Takes the next value of an object or array, behind one of the signs; none at its end.
fn next<'a>(rest: &mut &'a str, signs: &[char]) -> Option<Value<'a>> {
    let s = space(space(rest).strip_prefix(signs)?);
    let n = skip(s);
    *rest = s.get(n..)?;
    if n == 0 {
        return None; // it is empty
    }
    s.get(..n).map(Value)
}

fn space(s: &str) -> &str {
    s.trim_start_matches(&[' ', '\n', '\t', '\r'][..])
}

/// The length of the value that s starts with.
fn skip(s: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (i, c) in s.bytes().enumerate() {
        if quoted {
            match c {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    quoted = false;
                    if depth == 0 {
                        return i + 1;
                    }
                }
                _ => {}
            }
            continue;
        }
        match c {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return i,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            b',' | b' ' | b'\n' | b'\t' | b'\r' if depth == 0 => return i,
            _ => {}
        }
    }
    s.len()
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn values() {
        let v = Value::new(r#" {"a": -1.5e3, "b":"gr\u00f6\u00dfe \ud83d\ude00 \"\\\n\ud800x", "c" : [1, [2], {"d": "}"}, []],"e":{}, "f":true,"g":null} "#);
        assert_eq!(v.get("a").f64(), Some(-1500.0));
        assert_eq!(v.get("b").string().unwrap(), "gr\u{f6}\u{df}e \u{1f600} \"\\\n\u{fffd}x");
        let c: Vec<&str> = v.get("c").elements().map(|e| e.json()).collect();
        assert_eq!(c, ["1", "[2]", r#"{"d": "}"}"#, "[]"]);
        assert_eq!(v.get("e").entries().count(), 0);
        assert!(v.get("e").exists() && !v.get("h").exists());
        assert_eq!(v.get("f").bool(), Some(true));
        assert_eq!((v.get("g").f64(), v.get("g").string(), v.get("g").get("x").f64()), (None, None, None));
        assert_eq!(v.entries().count(), 6);
    }

    #[test]
    fn only() {
        let v = Value::new(r#"{"a": 1, "\u0062": {"c": 2}}"#);
        assert!(v.only(&["b", "a"]).is_ok() && Value::new("{}").only(&[]).is_ok());
        assert_eq!(v.only(&["a", "c"]).unwrap_err().to_string(), r#"config has no key "b"; there are: a c"#);
    }

    #[test]
    fn numbers() {
        for s in ["0", "-0", "1", "-1.5", "0.1", "60", "1e3", "1E+3", "25e-3", "123456789012345", "0.000123", "9007199254740993", "-0.4"] {
            assert_eq!(Value::new(s).f64(), s.parse().ok(), "{}", s);
        }
        for s in ["1.7e308", "1e22", "-7e-22", "4.9e-324", "1e-400", "123456789012345678901234567890", "3.141592653589793238462643", "2e-310"] {
            let (got, want) = (Value::new(s).f64().unwrap(), s.parse::<f64>().unwrap());
            assert!((got - want).abs() <= want.abs() * 1e-14 + 1e-323, "{}: {}, want {}", s, got, want);
        }
        for (s, want) in [("1e999999999999", None), ("1e9999", Some(f64::INFINITY)), ("1e-9999", Some(0.0)), ("0e99999", Some(0.0)), ("x", None), ("-", None)] {
            assert_eq!(Value::new(s).f64(), want, "{}", s);
        }
    }

    #[test]
    fn not_json() {
        for s in ["", "{", "[", "\"", "\"\\", "{\"a", "{\"a\":", "[1,", "{,}", "]", "-", "{\"\\u12", "\"\\uzzzz\""] {
            let v = Value::new(s);
            let _ = (v.get("a").f64(), v.entries().count(), v.elements().count(), v.string());
        }
    }
}
