//! JSON for other programs: lines that any reader can take, whatever a traced process is called.

use std::fmt;
use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::{Formatter, PrettyFormatter};

use crate::text::escape;

/// Bytes that are text as a rule: a string where they are UTF-8, else `{"bytes": "<base64>"}`.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("bytes", &BASE64_STANDARD.encode(self.0))?;
                map.end()
            }
        }
    }
}

/// The same, owned, which can be read back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedBytes(pub Vec<u8>);

impl Serialize for OwnedBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OwnedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OwnedBytes, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = OwnedBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or {\"bytes\": \"<base64>\"}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OwnedBytes, E> {
                Ok(OwnedBytes(text.as_bytes().to_vec()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<OwnedBytes, E> {
                Ok(OwnedBytes(text.into_bytes()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OwnedBytes, A::Error> {
                let mut bytes = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key == "bytes" {
                        let base64: String = map.next_value()?;
                        bytes = Some(BASE64_STANDARD.decode(base64).map_err(A::Error::custom)?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                bytes.map(OwnedBytes).ok_or_else(|| A::Error::missing_field("bytes"))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// A value on a line of its own. It may come to stand on a terminal: what one acts on is escaped.
pub fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, Harmless);
    value.serialize(&mut serializer)?;
    line.push(b'\n');
    Ok(line)
}

/// A value over several lines, for people, in the same way; without a line's end.
pub fn pretty(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    let formatter = HarmlessLines(PrettyFormatter::new());
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut lines, formatter))?;
    Ok(lines)
}

/// Compact, with escapes beyond those that JSON asks for.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write_harmless(writer, fragment)
    }
}

/// The same over several lines.
struct HarmlessLines<'a>(PrettyFormatter<'a>);

/// What the formatter in it does.
macro_rules! as_within {
    ($($method:ident($($argument:ident: $type:ty)?)),*) => {
        $(fn $method<W: io::Write + ?Sized>(&mut self, writer: &mut W $(, $argument: $type)?) -> io::Result<()> {
            self.0.$method(writer $(, $argument)?)
        })*
    };
}

impl Formatter for HarmlessLines<'_> {
    as_within!(
        begin_array(),
        end_array(),
        begin_array_value(first: bool),
        end_array_value(),
        begin_object(),
        end_object(),
        begin_object_key(first: bool),
        begin_object_value(),
        end_object_value()
    );

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write_harmless(writer, fragment)
    }
}

fn write_harmless<W: io::Write + ?Sized>(writer: &mut W, fragment: &str) -> io::Result<()> {
    // What is below a space is escaped already.
    if fragment.bytes().all(|byte| byte < 0x7f) {
        return writer.write_all(fragment.as_bytes());
    }
    let mut rest = fragment;
    while let Some(at) = rest.find(escape::is_dangerous) {
        let (plain, from) = rest.split_at(at);
        writer.write_all(plain.as_bytes())?;
        let mut chars = from.chars();
        let dangerous = chars.next().unwrap_or_default();
        for unit in dangerous.encode_utf16(&mut [0; 2]) {
            write!(writer, "\\u{unit:04x}")?;
        }
        rest = chars.as_str();
    }
    writer.write_all(rest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        String::from_utf8(line(&Bytes(bytes)).unwrap()).unwrap()
    }

    #[test]
    fn text_is_a_string_and_other_bytes_are_base64() {
        assert_eq!(shown("é\"\\".as_bytes()), "\"é\\\"\\\\\"\n");
        assert_eq!(shown(b"a\xff"), "{\"bytes\":\"Yf8=\"}\n");
        assert_eq!(shown(b""), "\"\"\n");
    }

    #[test]
    fn what_was_written_is_read_back() {
        for bytes in [&b"a\x1b"[..], b"\xff\x00", b"", "é".as_bytes()] {
            let line = shown(bytes);
            assert_eq!(serde_json::from_str::<OwnedBytes>(&line).unwrap().0, bytes);
        }
    }

    #[test]
    fn what_a_terminal_acts_on_is_escaped_and_comes_back() {
        for text in ["\u{1b}[2J", "a\u{9b}b\u{7f}", "\u{202e}x", "\u{e0041}", "\n\r\t"] {
            let line = shown(text.as_bytes());
            assert!(line.trim_end().bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
            let pretty = pretty(&[Bytes(text.as_bytes())]).unwrap();
            assert_eq!(pretty, format!("[\n  {}\n]", line.trim_end()).into_bytes());
        }
    }
}
