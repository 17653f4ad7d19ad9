//! Where a debugger listens that is used from elsewhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;

/// An address of this machine, and a port of the user's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    pub address: IpAddr,
    pub port: Option<u16>,
}

impl Default for Listen {
    fn default() -> Listen {
        Listen { address: Ipv4Addr::LOCALHOST.into(), port: None }
    }
}

impl FromStr for Listen {
    type Err = String;

    /// `ADDR`, `ADDR:PORT` or `:PORT`.
    fn from_str(text: &str) -> Result<Listen, String> {
        let default = Listen::default();
        let text = text
            .strip_prefix("localhost")
            .map_or(text.to_string(), |rest| format!("{}{rest}", default.address));
        if let Ok(address) = text.trim_matches(['[', ']']).parse() {
            return Ok(Listen { address, ..default });
        }
        if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
            return Ok(Listen { port: Some(port), ..default }.without_zero());
        }
        let address: SocketAddr = text.parse().map_err(|_| {
            "expected an address of this machine, as in 0.0.0.0, 192.0.2.1:4711, [::1]:4711 or :4711"
        })?;
        Ok(Listen { address: address.ip(), port: Some(address.port()) }.without_zero())
    }
}

impl Listen {
    /// Port 0 is any that is free.
    fn without_zero(self) -> Listen {
        Listen { port: self.port.filter(|&port| port != 0), ..self }
    }

    /// A port that is free now; the debugger takes it a moment later.
    pub fn free_port(&self) -> io::Result<u16> {
        let wanted = (self.address, self.port.unwrap_or_default());
        Ok(TcpListener::bind(wanted)?.local_addr()?.port())
    }

    pub fn is_loopback(&self) -> bool {
        self.address.is_loopback()
    }

    /// As it stands before a colon and a port.
    pub fn shown(&self) -> String {
        shown(self.address)
    }

    /// What one connects to from elsewhere: this machine's name, where it listens on all addresses.
    pub fn host(&self) -> String {
        if !self.address.is_unspecified() {
            return self.shown();
        }
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let is_plain = |name: &String| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        };
        name.filter(is_plain).unwrap_or_else(|| "localhost".into())
    }
}

fn shown(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_a_port_or_both() {
        let listen = |text: &str| text.parse::<Listen>().map(|l| (l.shown(), l.port));
        let good = |address: &str, port| Ok((address.to_string(), port));
        assert_eq!(listen("0.0.0.0"), good("0.0.0.0", None));
        assert_eq!(listen(":4711"), good("127.0.0.1", Some(4711)));
        assert_eq!(listen("localhost:4711"), good("127.0.0.1", Some(4711)));
        assert_eq!(listen("::1"), good("[::1]", None));
        assert_eq!(listen("[::1]:0"), good("[::1]", None));
        assert_eq!(listen("[::]:1"), good("[::]", Some(1)));
        for wrong in ["", "here", "1.2.3", ":70000", "1.2.3.4:x", "0.0.0.0;id"] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn where_it_listens_everywhere_the_machine_is_named() {
        let everywhere: Listen = "0.0.0.0".parse().unwrap();
        assert!(!everywhere.is_loopback() && everywhere.host() != "0.0.0.0");
        assert_eq!(Listen::default().host(), "127.0.0.1");
    }
}
