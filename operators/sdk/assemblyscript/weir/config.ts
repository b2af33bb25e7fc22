/** A JSON value of the configuration, or one that is not there. */
@final
export class Json {
  /** The text must be JSON, or empty: the host made sure of it. Anything else gives any values. */
  constructor(readonly json: string) {}

  /** Tells whether it is there. */
  get exists(): bool {
    return this.json.length > 0;
  }

  /** The value of an object by its key, which may not be there. */
  get(key: string): Json {
    const all = this.parts("{");
    for (let i = 0; i + 1 < all.length; i += 2) {
      if (all[i].text("") == key) return all[i + 1];
    }
    return new Json("");
  }

  /** The keys of an object, in order. */
  keys(): string[] {
    const keys = new Array<string>();
    const all = this.parts("{");
    for (let i = 0; i + 1 < all.length; i += 2) keys.push(all[i].text(""));
    return keys;
  }

  /** The elements of an array, in order. */
  elements(): Json[] {
    return this.parts("[");
  }

  /** A number, or otherwise where the value is not one. */
  number(otherwise: f64): f64 {
    const c = this.json.length ? this.json.charCodeAt(0) : 0;
    return c == 0x2d || (c >= 0x30 && c <= 0x39) ? F64.parseFloat(this.json) : otherwise;
  }

  /** True or false, or otherwise where the value is neither. */
  bool(otherwise: bool): bool {
    return this.json == "true" ? true : this.json == "false" ? false : otherwise;
  }

  /** A string, its escapes decoded, or otherwise where the value is not one. */
  text(otherwise: string): string {
    const s = this.json;
    if (s.length < 2 || s.charCodeAt(0) != 0x22) return otherwise;
    const out = new Array<string>();
    let from = 1;
    for (let i = 1; i < s.length - 1; i++) {
      if (s.charCodeAt(i) != 0x5c) continue;
      out.push(s.substring(from, i++));
      const c = s.charCodeAt(i);
      if (c == 0x75) {
        out.push(String.fromCharCode(<i32>I32.parseInt(s.substr(i + 1, 4), 16)));
        i += 4;
      } else {
        // "bfnrt" are control characters, quotes and slashes themselves.
        const control = "bfnrt".indexOf(String.fromCharCode(c));
        out.push(control < 0 ? s.charAt(i) : "\b\f\n\r\t".charAt(control));
      }
      from = i + 1;
    }
    out.push(s.substring(from, s.length - 1));
    return out.length > 1 ? wellFormed(out.join("")) : out[0];
  }

  /** What an object or array has in it: the values one by one, keys before theirs. */
  private parts(open: string): Json[] {
    const out = new Array<Json>();
    const s = this.json;
    if (!s.startsWith(open)) return out;
    for (let i = 1; i < s.length; ) {
      const c = s.charCodeAt(i);
      if (c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09 || c == 0x2c || c == 0x3a) {
        i++;
        continue;
      }
      const end = skip(s, i);
      if (end == i) break; // the closing bracket
      out.push(new Json(s.substring(i, end)));
      i = end;
    }
    return out;
  }
}

/** Text with U+FFFD for halves of surrogate pairs, which UTF-8 does not have. */
function wellFormed(s: string): string {
  let out = "";
  for (let i = 0; i < s.length; ) {
    const c = s.codePointAt(i);
    out += c >= 0xd800 && c < 0xe000 ? "\ufffd" : String.fromCodePoint(c);
    i += c > 0xffff ? 2 : 1;
  }
  return out;
}

/** Behind the value that begins at i. */
function skip(s: string, i: i32): i32 {
  let depth = 0;
  for (; i < s.length; i++) {
    switch (s.charCodeAt(i)) {
      case 0x22: // "
        for (i++; i < s.length && s.charCodeAt(i) != 0x22; i++) {
          if (s.charCodeAt(i) == 0x5c) i++;
        }
        if (!depth) return min(i + 1, s.length);
        break;
      case 0x7b: // {
      case 0x5b: // [
        depth++;
        break;
      case 0x7d: // }
      case 0x5d: // ]
        if (!depth) return i;
        if (!--depth) return i + 1;
        break;
      case 0x2c: // ,
      case 0x20:
      case 0x0a:
      case 0x0d:
      case 0x09:
        if (!depth) return i;
        break;
      default:
    }
  }
  return i;
}
