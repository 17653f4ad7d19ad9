//! The session's socket: shims ask it what to execute, `ps` and `release` ask about hits.
//!
//! It lies in a folder that only the user can enter; whoever connects must be that user, or root. A
//! message is one line of JSON.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use crate::launcher::shim::Order;
use crate::report::Trouble;
use crate::sys::{self, Pid};

/// What a client asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// A shim has started for hit N; its pid is the peer's.
    Shim(u64),
    /// A shim of another user offers its terminal for hit N; the descriptor comes with this.
    Terminal(u64),
    /// What is going on?
    Ps,
    /// Let one process (or all) run on.
    Release(Option<Pid>),
}

/// What it is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    Execute(Box<Order>),
    Session(SessionState),
    Released(Vec<Pid>),
    /// The debugger on the terminal that was offered has ended.
    TerminalFree,
    Refused(String),
}

/// A running session, as `ps` shows it. Strings are escaped already.
#[derive(Debug, Serialize, Deserialize)]
pub struct SessionState {
    pub pid: Pid,
    pub command: String,
    pub execs: u64,
    pub hits: Vec<HitState>,
}

/// A hit, as `ps` shows it.
#[derive(Debug, Serialize, Deserialize)]
pub struct HitState {
    pub id: u64,
    pub pid: Pid,
    pub stage: String,
    pub debugger: Option<Pid>,
    pub line: String,
}

/// How long an answer may take to be written or to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// What an address in the kernel's own name space begins with, see unix(7).
const ABSTRACT: &str = "@";
/// No request is longer than this, in bytes.
const LONGEST_REQUEST: u64 = 4096;

/// The folder of the sockets, made if need be: only the user may enter it.
pub fn folder() -> Result<PathBuf, Trouble> {
    let uid = Uid::effective();
    let own = |path: &Path| fs::metadata(path).is_ok_and(|m| m.is_dir() && m.uid() == uid.as_raw());
    let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| own(path));
    let run = PathBuf::from(format!("/run/user/{uid}"));
    let folder = match base.or_else(|| own(&run).then_some(run)) {
        Some(base) => base.join("tracexec"),
        None => std::env::temp_dir().join(format!("tracexec-{uid}")),
    };
    let made = fs::DirBuilder::new().mode(0o700).create(&folder);
    let is_ours = fs::symlink_metadata(&folder)
        .is_ok_and(|m| m.is_dir() && m.uid() == uid.as_raw() && m.mode() & 0o077 == 0);
    if is_ours {
        return Ok(folder);
    }
    let why = match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => error.to_string(),
        _ => "it is not a folder that only you can enter".into(),
    };
    Err(Trouble::new(format!("cannot use {} for the session's socket: {why}", folder.display()))
        .hint("set XDG_RUNTIME_DIR to a folder of your own with mode 0700"))
}

/// The session's end of the socket.
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
    foreign: Option<Foreign>,
}

/// A second socket, for shims in the terminal of the user who called us by sudo. He cannot enter our
/// folder; all that he can do here is to offer his terminal.
struct Foreign {
    uid: u32,
    name: String,
    listener: UnixListener,
}

/// A client that has asked something.
pub struct Client {
    stream: UnixStream,
    pub pid: Pid,
    /// The terminal that came with the request.
    pub terminal: Option<OwnedFd>,
}

impl Server {
    pub fn new() -> Result<Server, Trouble> {
        let path = folder()?.join(format!("{}.sock", std::process::id()));
        // A socket of this name belonged to a dead process that had our pid.
        let _ = fs::remove_file(&path);
        let trouble = |error: io::Error| {
            Trouble::new(format!("cannot listen on {}: {error}", path.display()))
                .hint("set XDG_RUNTIME_DIR to a folder of your own with a shorter path")
        };
        let listener = UnixListener::bind(&path).map_err(trouble)?;
        listener.set_nonblocking(true).map_err(trouble)?;
        Ok(Server { path, listener, foreign: None })
    }

    /// Opens the second socket to user `uid`; the address to give to a shim.
    pub fn open_to(&mut self, uid: u32) -> io::Result<PathBuf> {
        let foreign = match &mut self.foreign {
            Some(foreign) => foreign,
            none => {
                let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), uid);
                let name = format!("tracexec-{}-{random:016x}", std::process::id());
                let address = SocketAddr::from_abstract_name(&name)?;
                let listener = UnixListener::bind_addr(&address)?;
                listener.set_nonblocking(true)?;
                none.insert(Foreign { uid, name, listener })
            }
        };
        Ok(PathBuf::from(format!("{ABSTRACT}{}", foreign.name)))
    }

    /// What to poll.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let foreign = self.foreign.as_ref().map(|foreign| foreign.listener.as_fd());
        std::iter::once(self.listener.as_fd()).chain(foreign)
    }

    /// Accepts a shim's offer of its terminal.
    fn accept_terminal(&self) -> Option<(Client, Request)> {
        let foreign = self.foreign.as_ref()?;
        let (stream, _) = foreign.listener.accept().ok()?;
        let peer: UnixCredentials = getsockopt(&stream, PeerCredentials).ok()?;
        if peer.uid() != foreign.uid && peer.uid() != 0 {
            return None;
        }
        set_patience(&stream).ok()?;
        let (line, terminal) = sys::receive_with_descriptor(&stream).ok()?;
        let request = serde_json::from_slice(&line).ok()?;
        matches!(request, Request::Terminal(_)).then_some(())?;
        Some((Client { stream, pid: peer.pid(), terminal }, request))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Accepts one client and reads what it asks; `None` if there is none, or it may not ask.
    ///
    /// A client sends its line at once, so that this waits for it: a second at the most, for one of
    /// the user's own that does not behave.
    pub fn accept(&self) -> Option<(Client, Request)> {
        let Ok((stream, _)) = self.listener.accept() else { return self.accept_terminal() };
        let peer: UnixCredentials = getsockopt(&stream, PeerCredentials).ok()?;
        if peer.uid() != 0 && peer.uid() != Uid::effective().as_raw() {
            return None;
        }
        set_patience(&stream).ok()?;
        let mut line = String::new();
        BufReader::new((&stream).take(LONGEST_REQUEST)).read_line(&mut line).ok()?;
        let request = serde_json::from_str(&line).ok()?;
        Some((Client { stream, pid: peer.pid(), terminal: None }, request))
    }
}

fn set_patience(stream: &UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(PATIENCE))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Client {
    pub fn answer(mut self, reply: &Reply) -> io::Result<()> {
        send(&mut self.stream, reply)
    }
}

fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Offers our terminal to a session of root's, and waits until it is free again.
pub fn offer_terminal(address: &Path, hit: u64) -> io::Result<Reply> {
    let name = address.as_os_str().as_bytes();
    let name = name.strip_prefix(ABSTRACT.as_bytes()).unwrap_or(name);
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    let mut line = serde_json::to_vec(&Request::Terminal(hit))?;
    line.push(b'\n');
    sys::send_with_descriptor(&stream, &line, io::stdin().as_fd())?;
    read_reply(stream)
}

/// Whether a socket's address is that of [`Server::open_to`].
pub fn is_foreign(address: &Path) -> bool {
    address.as_os_str().as_bytes().starts_with(ABSTRACT.as_bytes())
}

/// Asks the session behind `path`, and waits for the answer as long as `patience` says.
pub fn ask(path: &Path, request: &Request, patience: Option<Duration>) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(patience)?;
    send(&mut stream, request)?;
    read_reply(stream)
}

fn read_reply(stream: UnixStream) -> io::Result<Reply> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the session has ended"));
    }
    Ok(serde_json::from_str(&line)?)
}

/// Asks every session of the user. Sockets that nobody listens on any more are removed.
pub fn ask_all(request: &Request) -> Result<Vec<Reply>, Trouble> {
    let folder = folder()?;
    let entries = fs::read_dir(&folder)
        .map_err(|error| Trouble::new(format!("cannot read {}: {error}", folder.display())))?;
    let mut replies = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|extension| extension != "sock") {
            continue;
        }
        match ask(&path, request, Some(PATIENCE)) {
            Ok(reply) => replies.push(reply),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = fs::remove_file(&path);
            }
            // It ended just now, or it does not answer; the others still do.
            Err(_) => {}
        }
    }
    Ok(replies)
}
