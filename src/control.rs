//! The session's socket: shims ask it what to execute, `ps` and `release` ask about hits.
//!
//! It lies in a folder that only the user can enter; whoever connects must be that user, or root. A
//! message is one line of JSON.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use crate::launcher::shim::Order;
use crate::report::Trouble;
use crate::sys::Pid;

/// What a client asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// A shim has started for hit N; its pid is the peer's.
    Shim(u64),
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
/// No request is longer than this, in bytes.
const LONGEST_REQUEST: u64 = 4096;

/// The folder of the sockets, made if need be: only the user may enter it.
fn folder() -> Result<PathBuf, Trouble> {
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
}

/// A client that has asked something.
pub struct Client {
    stream: UnixStream,
    pub pid: Pid,
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
        Ok(Server { path, listener })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Accepts one client and reads what it asks; `None` if there is none, or it may not ask.
    ///
    /// A client sends its line at once, so that this waits for it: a second at the most, for one of
    /// the user's own that does not behave.
    pub fn accept(&self, also: Option<u32>) -> Option<(Client, Request)> {
        let (stream, _) = self.listener.accept().ok()?;
        let peer: UnixCredentials = getsockopt(&stream, PeerCredentials).ok()?;
        let uid = peer.uid();
        if uid != 0 && uid != Uid::effective().as_raw() && Some(uid) != also {
            return None;
        }
        stream.set_nonblocking(false).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        let mut line = String::new();
        BufReader::new((&stream).take(LONGEST_REQUEST)).read_line(&mut line).ok()?;
        let request = serde_json::from_str(&line).ok()?;
        Some((Client { stream, pid: peer.pid() }, request))
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
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

/// Asks the session behind `path`, and waits for the answer as long as `patience` says.
pub fn ask(path: &Path, request: &Request, patience: Option<Duration>) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(patience)?;
    send(&mut stream, request)?;
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
