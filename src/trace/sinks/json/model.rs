//! The form of what is written. The order of the fields is that of the output.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::{Faults, Reading};
use crate::text::json::{Bytes, OwnedBytes};
use crate::trace::sinks::words;

/// How an environment is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EnvForm {
    /// Every entry, in its order
    #[default]
    Whole,
    /// What differs from that of COMMAND
    Diff,
}

/// Bytes, lent or owned.
#[derive(Debug, Clone, PartialEq)]
pub struct Text<'a>(pub Cow<'a, [u8]>);

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Text(Cow::Borrowed(bytes))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Text<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        OwnedBytes::deserialize(deserializer).map(|bytes| Text(Cow::Owned(bytes.0)))
    }
}

/// argv or an environment; null stands for a string that could not be read.
pub type Vector<'a> = Vec<Option<Text<'a>>>;

/// An environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Env<'a> {
    Whole(Vector<'a>),
    Diff(EnvDiff<'a>),
}

/// How it differs from the baseline's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvDiff<'a> {
    /// Entries that the baseline does not have.
    pub set: Vec<Text<'a>>,
    /// The names of those that only the baseline has.
    pub unset: Vec<Text<'a>>,
}

/// Told apart by whether it is a list, which costs less than to try both.
impl<'de> Deserialize<'de> for Env<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Env<'static>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of entries, or an object with set and unset")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Env<'static>, A::Error> {
                Vector::deserialize(SeqAccessDeserializer::new(seq)).map(Env::Whole)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Env<'static>, A::Error> {
                EnvDiff::deserialize(MapAccessDeserializer::new(map)).map(Env::Diff)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Faults, by their names.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FaultNames(pub Faults);

impl Serialize for FaultNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(words::fault_names(self.0))
    }
}

impl<'de> Deserialize<'de> for FaultNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let all = names.iter().map(|name| words::fault(name));
        Ok(FaultNames(all.fold(Faults::empty(), |all, fault| all | fault)))
    }
}

/// A number, null where it is not known, `"none"` where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Number {
    Known(u32),
    Unknown(()),
    Missing(None),
}

/// The word for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum None {
    None,
}

impl From<Reading<u32>> for Number {
    fn from(reading: Reading<u32>) -> Number {
        match reading {
            Reading::Known(number) => Number::Known(number),
            Reading::Missing => Number::Missing(None::None),
            Reading::Unknown => Number::Unknown(()),
        }
    }
}

impl From<Number> for Reading<u32> {
    fn from(number: Number) -> Reading<u32> {
        match number {
            Number::Known(number) => Reading::Known(number),
            Number::Missing(_) => Reading::Missing,
            Number::Unknown(()) => Reading::Unknown,
        }
    }
}

/// Flags: their number, and the names of those that have one, to be read by people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flags {
    pub number: u32,
    #[serde(default, skip_deserializing)]
    pub names: Vec<&'static str>,
}

/// What is traced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About<'a> {
    pub command: Vec<Text<'a>>,
    pub source: Cow<'a, str>,
    pub tracexec: Cow<'a, str>,
    pub host: Text<'a>,
    pub time: u64,
    pub wall: String,
    pub baseline: Baseline<'a>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline<'a> {
    pub cwd: Text<'a>,
    pub env: Vec<Text<'a>>,
    pub fds: Vec<Descriptor<'a>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Descriptor<'a> {
    pub fd: u32,
    pub path: Text<'a>,
    pub kind: Cow<'a, str>,
    pub flags: Flags,
    pub close_on_exec: bool,
    pub position: i64,
    pub mount: u32,
    pub inode: u64,
    pub file_system: Text<'a>,
    #[serde(default, skip_serializing_if = "is_whole")]
    pub faults: FaultNames,
}

fn is_whole(faults: &FaultNames) -> bool {
    faults.0.is_empty()
}

/// What a line of a stream, or an entry of a document's events, says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Line<'a> {
    About(Header<'a>),
    Begun(Begun),
    Exec(Box<Exec<'a>>),
    Ended(Ended),
    End(End),
}

/// What a stream begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header<'a> {
    pub format: Cow<'a, str>,
    pub version: u32,
    #[serde(flatten)]
    pub about: About<'a>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    pub pid: u32,
    pub parent: u32,
    pub time: u64,
    #[serde(default)]
    pub wall: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    pub pid: u32,
    pub time: u64,
    #[serde(default)]
    pub wall: String,
    pub exec: Option<u64>,
    /// Since that exec.
    #[serde(default)]
    pub duration: Option<u64>,
    #[serde(flatten)]
    pub status: Status,
    pub usage: Option<Usage>,
}

/// What wait(2) says of an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub status: Option<u8>,
    pub signal: Option<u8>,
    #[serde(default, skip_deserializing)]
    pub signal_name: Option<String>,
    pub core_dumped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub user: u64,
    pub system: u64,
    pub peak_memory: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Parent {
    pub how: How,
    pub exec: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    Becomes,
    Spawned,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call<'a> {
    pub name: Cow<'a, str>,
    pub dirfd: Option<i32>,
    pub flags: Flags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FourIds {
    pub real: u32,
    pub effective: u32,
    pub saved: u32,
    pub file_system: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ids {
    pub uids: FourIds,
    pub gids: FourIds,
    pub groups: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response<'a> {
    pub name: Text<'a>,
    pub text: Text<'a>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec<'a> {
    pub id: u64,
    pub time: u64,
    #[serde(default)]
    pub wall: String,
    pub pid: u32,
    pub tid: u32,
    pub ppid: Number,
    pub depth: Number,
    pub parent: Option<Parent>,
    /// When the process began.
    pub began: u64,
    pub result: i32,
    #[serde(default, skip_deserializing)]
    pub errno: Option<String>,
    pub call: Option<Call<'a>>,
    pub compat: bool,
    pub comm: Option<Text<'a>>,
    pub prev_comm: Option<Text<'a>>,
    pub filename: Option<Text<'a>>,
    pub exe: Option<Text<'a>>,
    pub interpreters: Option<Vec<Text<'a>>>,
    pub cwd: Option<Text<'a>>,
    pub argv: Option<Vector<'a>>,
    pub passed_argv: Option<Vector<'a>>,
    /// Where there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<Response<'a>>,
    pub env: Option<Env<'a>>,
    pub fds: Option<Vec<Descriptor<'a>>>,
    pub uid: u32,
    pub gid: u32,
    pub ids: Option<Ids>,
    pub cgroup: Option<Text<'a>>,
    pub pid_namespace: Number,
    pub mount_namespace: Number,
    /// By the part; the whole is `exec`.
    pub faults: BTreeMap<Cow<'a, str>, FaultNames>,
    /// In a document: how its process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Option<Exit>>,
    /// In a document: what its process executed after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub became: Option<Option<u64>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    pub time: u64,
    #[serde(default)]
    pub wall: String,
    #[serde(default)]
    pub duration: Option<u64>,
    #[serde(flatten)]
    pub status: Status,
    pub usage: Option<Usage>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    pub time: u64,
    #[serde(default)]
    pub wall: String,
    /// COMMAND's, null where it still ran, or there was none.
    pub command: Option<Status>,
    pub lost: Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    pub events: u64,
    pub processes: u64,
}
