//! The session's socket: shims ask it what to execute, `ps` and `release` ask about hits.
//!
//! It lies in a folder that only the user can enter; whoever connects must be that user, or root. A
//! message is one line of JSON.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket,
    sockopt::PeerCredentials,
};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use crate::launcher::shim::Order;
use crate::linux::sys::{self, Pid};
use crate::text::escape;
use crate::text::report::Trouble;

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
/// How long a client may take to ask.
const ASKS_WITHIN: Duration = Duration::from_secs(5);
/// How many clients may be asking on one socket; the oldest goes.
const MOST_ASKING: usize = 32;
/// What an address in the kernel's own name space begins with, see unix(7).
const ABSTRACT: &str = "@";
/// No request is longer than this, in bytes.
const LONGEST_REQUEST: usize = 4096;

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
    Err(Trouble::new(format!(
        "cannot use {} for the session's socket: {why}",
        escape::path(&folder)
    ))
    .hint("set XDG_RUNTIME_DIR to a folder of your own with mode 0700"))
}

/// The session's end of the socket.
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
    foreign: Option<Foreign>,
    /// Who has connected, and has not said all yet.
    asking: Vec<Asking>,
    /// Whether the last one could not be accepted, since no more descriptors are to be had.
    is_exhausted: bool,
}

/// A client that may be slow to ask.
struct Asking {
    stream: UnixStream,
    pid: Pid,
    /// Of the second socket.
    foreign: bool,
    line: Vec<u8>,
    terminal: Option<OwnedFd>,
    since: Instant,
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
            Trouble::new(format!("cannot listen on {}: {error}", escape::path(&path)))
                .hint("set XDG_RUNTIME_DIR to a folder of your own with a shorter path")
        };
        let listener = UnixListener::bind(&path).map_err(trouble)?;
        listener.set_nonblocking(true).map_err(trouble)?;
        Ok(Server { path, listener, foreign: None, asking: Vec::new(), is_exhausted: false })
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
        // Who cannot be accepted stays there to be accepted, and would be reported at once.
        let listeners = std::iter::once(self.listener.as_fd()).chain(foreign);
        let listeners = listeners.filter(|_| !self.is_exhausted);
        let asking = self.asking.iter().map(|client| client.stream.as_fd());
        listeners.chain(asking)
    }

    /// When to look again at the latest.
    pub fn look_again(&self) -> Option<Duration> {
        self.is_exhausted.then_some(Duration::from_millis(100))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A client that has asked something by now. Nobody is waited for: who is slow is asked again when something has come.
    pub fn accept(&mut self) -> Option<(Client, Request)> {
        self.admit();
        self.asking.retain(|client| client.since.elapsed() < ASKS_WITHIN);
        let mut at = 0;
        while at < self.asking.len() {
            match self.asking[at].read() {
                Ok(None) => at += 1,
                Ok(Some(request)) => {
                    let Asking { stream, pid, terminal, .. } = self.asking.remove(at);
                    return Some((Client { stream, pid, terminal }, request));
                }
                Err(_) => drop(self.asking.remove(at)),
            }
        }
        None
    }

    /// Accepts all who have connected and may ask.
    fn admit(&mut self) {
        let own = (&self.listener, Uid::effective().as_raw(), false);
        let foreign = self.foreign.as_ref().map(|foreign| (&foreign.listener, foreign.uid, true));
        self.is_exhausted = false;
        for (listener, uid, foreign) in std::iter::once(own).chain(foreign) {
            loop {
                let stream = match listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        let errno = error.raw_os_error();
                        self.is_exhausted |= matches!(errno, Some(libc::EMFILE | libc::ENFILE));
                        break;
                    }
                };
                let Ok(peer) = getsockopt(&stream, PeerCredentials) else { continue };
                if (peer.uid() != 0 && peer.uid() != uid) || stream.set_nonblocking(true).is_err() {
                    continue;
                }
                let same = |client: &Asking| client.foreign == foreign;
                if self.asking.iter().filter(|client| same(client)).count() >= MOST_ASKING
                    && let Some(oldest) = self.asking.iter().position(same)
                {
                    self.asking.remove(oldest);
                }
                self.asking.push(Asking {
                    stream,
                    pid: peer.pid(),
                    foreign,
                    line: Vec::new(),
                    terminal: None,
                    since: Instant::now(),
                });
            }
        }
    }
}

impl Asking {
    /// What it asks, once all of that has come.
    fn read(&mut self) -> io::Result<Option<Request>> {
        let refused = || io::Error::from(io::ErrorKind::InvalidData);
        loop {
            let mut some = [0; 1024];
            let read = match self.foreign {
                true => sys::receive_with_descriptor(&self.stream).map(|(bytes, terminal)| {
                    self.terminal = terminal.or(self.terminal.take());
                    self.line.extend(&bytes);
                    bytes.len()
                }),
                false => self.stream.read(&mut some).inspect(|&len| self.line.extend(&some[..len])),
            };
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) if self.line.ends_with(b"\n") => break,
                Ok(_) if self.line.len() > LONGEST_REQUEST => return Err(refused()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let request = serde_json::from_slice(&self.line)?;
        // All that the user who called us by sudo can do is to offer his terminal.
        match self.foreign == matches!(request, Request::Terminal(_)) {
            true => Ok(Some(request)),
            false => Err(refused()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Client {
    /// Answers, without waiting for a client that does not read.
    pub fn answer(mut self, reply: &Reply) -> io::Result<()> {
        let line = line(reply)?;
        let mut done = 0;
        while done < line.len() {
            match self.stream.write(&line[done..]) {
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.answer_later(line[done..].to_vec());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Has a thread write the rest, for which there is no room at once.
    fn answer_later(mut self, rest: Vec<u8>) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        let deadline = Instant::now() + PATIENCE;
        let write = move || {
            let mut done = 0;
            while done < rest.len() && Instant::now() < deadline {
                match self.stream.write(&rest[done..]) {
                    Ok(more) => done += more,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        std::thread::Builder::new().name("answer".into()).spawn(write).map(drop)
    }
}

fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    stream.write_all(&line(message)?)
}

/// Offers our terminal to a session of root's, and waits until it is free again.
pub fn offer_terminal(address: &Path, hit: u64) -> io::Result<Reply> {
    let name = address.as_os_str().as_bytes();
    let name = name.strip_prefix(ABSTRACT.as_bytes()).unwrap_or(name);
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    sys::send_with_descriptor(&stream, &line(&Request::Terminal(hit))?, io::stdin().as_fd())?;
    read_reply(stream)
}

/// Whether a socket's address is that of [`Server::open_to`].
pub fn is_foreign(address: &Path) -> bool {
    address.as_os_str().as_bytes().starts_with(ABSTRACT.as_bytes())
}

/// Asks the session behind `path`, and waits for the answer as long as `patience` says.
pub fn ask(path: &Path, request: &Request, patience: Option<Duration>) -> io::Result<Reply> {
    let mut stream = match patience {
        None => UnixStream::connect(path)?,
        Some(_) => connect_at_once(path)?,
    };
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    send(&mut stream, request)?;
    read_reply(stream)
}

/// Connects, or fails where too many wait already.
fn connect_at_once(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn read_reply(stream: UnixStream) -> io::Result<Reply> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the session has ended"));
    }
    Ok(serde_json::from_str(&line)?)
}

/// Asks every session of the user: the answers, and the sockets of those that do not answer. Sockets that nobody listens
/// on any more are removed.
pub fn ask_all(request: &Request) -> Result<(Vec<Reply>, Vec<PathBuf>), Trouble> {
    let folder = folder()?;
    let entries = fs::read_dir(&folder)
        .map_err(|error| Trouble::new(format!("cannot read {}: {error}", escape::path(&folder))))?;
    let (mut replies, mut silent) = (Vec::new(), Vec::new());
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|extension| extension != "sock") {
            continue;
        }
        match ask(&path, request, Some(PATIENCE)) {
            Ok(reply) => replies.push(reply),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = fs::remove_file(&path);
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                silent.push(path);
            }
            // It ended just now.
            Err(_) => {}
        }
    }
    Ok((replies, silent))
}
