//! Places at which a test lets tracexec be killed. In a release build they are nothing.
//!
//! `TRACEXEC_DIE_AT=PLACE` kills the process there, as SIGKILL from outside would;
//! `TRACEXEC_ADMIT=1` makes the call that Yama would need, on kernels without Yama too.

/// Dies here if the environment says so.
#[inline]
pub fn point(place: &str) {
    if cfg!(debug_assertions) && std::env::var_os("TRACEXEC_DIE_AT").is_some_and(|at| at == place) {
        let _ =
            crate::linux::sys::kill(std::process::id() as crate::linux::sys::Pid, libc::SIGKILL);
    }
}

/// Whether the call for Yama is to be made in any case.
#[inline]
pub fn admit() -> bool {
    cfg!(debug_assertions) && std::env::var_os("TRACEXEC_ADMIT").is_some()
}
