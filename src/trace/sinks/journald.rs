//! The journal of systemd, in its own protocol, by which each event has fields to search for; see
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.
//!
//! The crates for it take text only, and what a traced process has written is bytes.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::linux::outlet::Outlet;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Of a value, in bytes: a datagram holds some 200 KB, and nobody reads a command line of that length there.
const LONGEST: usize = 16 << 10;

/// A connection to journald.
pub struct Journal {
    outlet: Outlet,
}

/// One entry.
#[derive(Debug, Default)]
pub struct Entry {
    bytes: Vec<u8>,
}

impl Entry {
    /// Adds a field, whose name is of capitals, digits and `_`. A value that is too long is cut, with `...`.
    pub fn field(&mut self, name: &str, value: &[u8]) -> &mut Entry {
        let cut;
        let value = match value.len() > LONGEST {
            true => {
                cut = [&value[..LONGEST], b"..."].concat();
                &cut
            }
            false => value,
        };
        self.bytes.extend_from_slice(name.as_bytes());
        if value.contains(&b'\n') {
            self.bytes.push(b'\n');
            self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.bytes.push(b'=');
        }
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
        self
    }

    pub fn number(&mut self, name: &str, value: impl Into<i64>) -> &mut Entry {
        self.field(name, value.into().to_string().as_bytes())
    }
}

impl Journal {
    pub fn connect(path: &Path) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // Whatever the error is, it is no reader that has seen enough.
        let write = move |entry: &[u8]| socket.send(entry).map_err(io::Error::other);
        let entries = |written: &[u8]| u64::from(!written.is_empty());
        Ok(Journal { outlet: Outlet::start("journald", entries, Box::new(write))? })
    }

    /// Has an entry sent; an error is one of an earlier entry.
    pub fn send(&self, entry: Entry) -> io::Result<()> {
        self.outlet.push(entry.bytes)
    }

    pub fn outlet(&self) -> &Outlet {
        &self.outlet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_newline_has_its_length_before_it() {
        let mut entry = Entry::default();
        entry.field("A", b"b\xffc").number("N", -2).field("M", b"x\ny=z");
        let expected = [&b"A=b\xffc\nN=-2\nM\n"[..], &5u64.to_le_bytes(), b"x\ny=z\n"].concat();
        assert_eq!(entry.bytes, expected);
    }

    #[test]
    fn a_value_that_is_too_long_is_cut() {
        let mut entry = Entry::default();
        entry.field("A", &vec![b'a'; LONGEST + 1]);
        assert_eq!(entry.bytes.len(), 2 + LONGEST + 3 + 1);
    }
}
