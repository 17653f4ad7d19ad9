//! The name of the local time zone, which chrono does not know.

use std::ffi::CStr;
use std::mem::MaybeUninit;

/// What the zone is called at a moment, as of strftime(3)'s `%Z`; the moment is in seconds since 1970.
pub fn zone_name(seconds: libc::time_t) -> String {
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: localtime_r fills the structure, and all bit patterns of it are valid; tm_zone points to a string of
    // libc's that stays until the zone changes, and is copied here.
    unsafe {
        if libc::localtime_r(&seconds, parts.as_mut_ptr()).is_null() {
            return String::new();
        }
        let zone = parts.assume_init().tm_zone;
        if zone.is_null() {
            return String::new();
        }
        CStr::from_ptr(zone).to_string_lossy().into_owned()
    }
}
