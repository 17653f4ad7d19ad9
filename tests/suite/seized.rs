//! What is seized for a moment is let go, whatever happens then.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use tracexec::source::Admit;
use tracexec::source::ptrace::{admit, wrap};
use tracexec::source::wrapped::{WrapOrder, Wrapper};

use crate::support::{eventually, signal_process, state, status_of};

/// Is killed when the test ends.
struct Sleep(Child);

impl Drop for Sleep {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process of another user in another session, which is stopped.
fn stopped() -> Sleep {
    let mut command = Command::new("sleep");
    command.arg("1000").uid(65534).gid(65534);
    // SAFETY: one system call. In our session we might send it SIGCONT without any privilege.
    unsafe {
        command.pre_exec(|| {
            assert!(libc::setsid() > 0);
            Ok(())
        });
    }
    let sleep = Sleep(command.spawn().unwrap());
    let pid = sleep.0.id() as i32;
    eventually("a sleep", || (state(pid) == Some('S')).then_some(()));
    signal_process(pid, libc::SIGSTOP);
    eventually("a stop", || (state(pid) == Some('T')).then_some(()));
    sleep
}

/// Takes from the calling thread the privilege to signal others, so that what comes after the seize fails.
fn drop_kill() {
    const VERSION: u32 = 0x2008_0522;
    const KILL: u32 = 1 << 5;
    let header = [VERSION, 0];
    let mut sets = [0u32; 6];
    // SAFETY: the kernel reads and writes values of our own, which have the sizes of this version.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()), 0);
        sets[0] &= !KILL;
        assert_eq!(libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()), 0);
    }
}

/// Does it in a thread that lives on, as a session does.
fn is_let_go(fails: impl Fn(i32) -> String + Send + 'static) {
    let sleep = stopped();
    let pid = sleep.0.id() as i32;
    let (sender, said) = std::sync::mpsc::channel();
    let (end, ending) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        drop_kill();
        sender.send(fails(pid)).unwrap();
        let _ = ending.recv();
    });
    let said = said.recv_timeout(crate::support::LIMIT).unwrap();
    assert!(said.contains("Operation not permitted"), "{said}");
    assert_eq!(status_of(pid, "TracerPid").as_deref(), Some("0"));
    eventually("its stop", || (state(pid) == Some('T')).then_some(()));
    drop(end);
    thread.join().unwrap();
}

#[test]
fn a_process_that_cannot_be_made_to_admit_its_debugger_is_let_go() {
    is_let_go(|pid| admit::admit(pid, Admit::Anyone).unwrap_err().to_string());
}

#[test]
fn a_process_that_cannot_be_made_to_execute_its_wrapper_is_let_go() {
    let order = || WrapOrder {
        wrapper: Wrapper { path: PathBuf::from("/bin/true"), words: vec!["true".into()] },
        program: b"/bin/sleep".to_vec(),
    };
    is_let_go(move |pid| wrap::stopped(pid, &order()).unwrap_err().to_string());
}
