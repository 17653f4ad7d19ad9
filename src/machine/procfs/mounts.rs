//! The types of file systems, by the numbers of their mounts.

use std::collections::HashMap;

use super::read;
use crate::event::FdRecord;
use crate::linux::sys::Pid;

/// What has been looked up.
#[derive(Debug, Default)]
pub struct FileSystems {
    by_mount: HashMap<u32, Vec<u8>>,
}

impl FileSystems {
    /// Names the file system of a process's descriptor.
    pub fn name(&mut self, pid: Pid, record: &mut FdRecord) {
        let target = record.fd.target.as_slice();
        let apart: &[(&[u8], &[u8])] = &[
            (b"pipe:", b"pipefs"),
            (b"socket:", b"sockfs"),
            (b"anon_inode:[pidfd]", b"pidfs"),
            (b"anon_inode:", b"anon_inodefs"),
        ];
        if let Some((_, name)) = apart.iter().find(|(start, _)| target.starts_with(start)) {
            record.file_system = name.to_vec();
            return;
        }
        if !self.by_mount.contains_key(&record.mount_id) {
            self.read(pid);
        }
        if let Some(name) = self.by_mount.get(&record.mount_id) {
            record.file_system.clone_from(name);
        } else if target.starts_with(b"/memfd:") {
            record.file_system = b"tmpfs".to_vec();
        }
    }

    fn read(&mut self, pid: Pid) {
        self.learn(&read(pid, "mountinfo").unwrap_or_default());
    }

    /// See proc_pid_mountinfo(5). Numbers come again, and what is read later counts.
    fn learn(&mut self, text: &[u8]) {
        for line in text.split(|&byte| byte == b'\n') {
            let mut words = line.split(|&byte| byte == b' ');
            let number = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
            let mut after = words.skip_while(|word| *word != b"-").skip(1);
            if let (Some(number), Some(name)) = (number, after.next()) {
                // Of fuse.NAME, the kernel's own is what stands before the point.
                let name = name.split(|&byte| byte == b'.').next().unwrap_or(name);
                self.by_mount.insert(number, name.to_vec());
            }
        }
    }
}

/// Names by mounts that are none.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8], record: &mut FdRecord) {
    let mut all = FileSystems::default();
    all.learn(bytes);
    if let Some(&number) = all.by_mount.keys().next() {
        record.mount_id = number;
        all.name(0, record);
    }
}
