//! Tables of what was written, and strings as JSON has them.

use std::collections::HashMap;
use std::hash::Hash;

/// How much the tables may remember, in bytes, each. Then they forget, and what comes again is written again.
const MOST_REMEMBERED: usize = 4 << 20;

/// What a table entry costs beside its key.
const OVERHEAD: usize = 48;

/// What was written, to be named by its number when it comes again.
pub struct Table<K> {
    pub known: HashMap<K, i64>,
    remembered: usize,
    next: i64,
}

impl<K: Hash + Eq> Table<K> {
    pub fn new() -> Table<K> {
        Table { known: HashMap::new(), remembered: 0, next: 0 }
    }

    /// A new entry's number.
    pub fn add(&mut self, key: K, size: usize) -> i64 {
        if self.remembered > MOST_REMEMBERED {
            self.known.clear();
            self.remembered = 0;
        }
        let number = self.next;
        self.next += 1;
        self.remembered += size + OVERHEAD;
        self.known.insert(key, number);
        number
    }
}

/// Bytes as a string of JSON, in ASCII.
pub fn json_string(bytes: &[u8], out: &mut Vec<u8>) {
    let unit =
        |out: &mut Vec<u8>, unit: u16| out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend([b'\\', c as u8]),
                ' '..='~' => out.push(c as u8),
                _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|&half| unit(out, half)),
            }
        }
        for &byte in chunk.invalid() {
            unit(out, 0xdc00 + u16::from(byte));
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_ascii_that_keeps_them_apart() {
        let json = |bytes: &[u8]| {
            let mut out = Vec::new();
            json_string(bytes, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(json(b"a \"b\\\n</script>"), r#""a \"b\\\u000a</script>""#);
        assert_eq!(json("é\u{2028}\u{1f600}".as_bytes()), r#""\u00e9\u2028\ud83d\ude00""#);
        assert_eq!(json(b"\xff\xc3"), r#""\udcff\udcc3""#);
    }

    #[test]
    fn a_table_that_is_full_forgets_and_goes_on_counting() {
        let mut table = Table::new();
        for key in 0..10i64 {
            assert_eq!(table.add(key, MOST_REMEMBERED / 2), key);
            assert!(table.known.len() <= 3);
        }
    }
}
