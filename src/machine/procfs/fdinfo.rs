//! What `/proc/PID/fdinfo` tells of a descriptor.

use crate::event::FdRecord;

/// Takes over what the file says; what cannot be is 0.
pub(super) fn parse(text: &[u8], record: &mut FdRecord) {
    let text = String::from_utf8_lossy(text);
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name {
            "pos" => record.position = value.parse().unwrap_or_default(),
            "flags" => {
                let flags = u32::from_str_radix(value, 8).unwrap_or_default();
                record.close_on_exec = flags & libc::O_CLOEXEC as u32 != 0;
                record.flags = flags & !(libc::O_CLOEXEC as u32);
            }
            "mnt_id" => record.mount_id = value.parse().unwrap_or_default(),
            "ino" => record.inode = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
}
