//! Programs that are found by PATH, as most are: then the name alone says it, and env(1) finds it again.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::event::ExecRecord;
use crate::machine::procfs;

/// Whether a search for `name`, in the exec's own environment, finds this very file now.
pub fn leads_to(record: &ExecRecord, name: &[u8], file: &[u8]) -> bool {
    let plain = |byte: &u8| !matches!(byte, b'/' | b'=');
    if name.is_empty() || name.starts_with(b"-") || !name.iter().all(plain) {
        return false;
    }
    let env = record.env.value.as_ref().filter(|_| record.env.faults.is_empty());
    let Some(path) = env.and_then(|env| procfs::variable(env.strings.block(), b"PATH")) else {
        return false;
    };
    for folder in path.split(|&byte| byte == b':') {
        // What is found from a working directory has no file name that begins with a `/`.
        if !folder.starts_with(b"/") {
            return false;
        }
        let found = [folder, b"/", name].concat();
        if found == file {
            return is_program(file);
        }
        if is_program(&found) {
            return false;
        }
    }
    false
}

fn is_program(file: &[u8]) -> bool {
    let metadata = fs::metadata(Path::new(OsStr::from_bytes(file)));
    metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
