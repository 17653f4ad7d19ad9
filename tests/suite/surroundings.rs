//! What surrounds a process: control groups, and what they tell of units and containers; namespaces.
//! Real ones, under `--list`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tracexec::machine::procfs::sees_whole_cgroups;

use crate::support::{Outcome, Running, World, eventually, finish, pid_in};

/// Tells what cannot be tested here. Where all is to be tested, that is a failure.
#[track_caller]
fn untested(why: &str) {
    assert!(std::env::var_os("TRACEXEC_TEST_ALL").is_none(), "{why}");
    eprintln!("not tested: {why}");
}

/// A control group of a service, and one of a container in it, which are removed at the end with
/// all that is in them.
struct OwnCgroup {
    /// The service's folder.
    service: PathBuf,
    /// Its last part.
    unit: String,
    container: String,
    /// Where the hierarchy had to be mounted, a process in that mount namespace.
    _holder: Option<Running>,
}

impl OwnCgroup {
    /// `None` if none can be made here; that is told.
    fn new(world: &World) -> Option<OwnCgroup> {
        OwnCgroup::make(world).map_err(|why| untested(&why)).ok()
    }

    fn make(world: &World) -> Result<OwnCgroup, String> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mut refused = String::from("no cgroup2 is mounted");
        for mount in mounts.lines() {
            let mut words = mount.split(' ').skip(1);
            if let (Some(at), Some("cgroup2")) = (words.next(), words.next()) {
                match OwnCgroup::below(Path::new(at), None) {
                    Ok(made) => return Ok(made),
                    Err(why) => refused = why,
                }
            }
        }
        let (holder, at) = mounted(world).map_err(|why| format!("{refused}; {why}"))?;
        OwnCgroup::below(&at, Some(holder)).map_err(|why| format!("{refused}; {why}"))
    }

    fn below(at: &Path, holder: Option<Running>) -> Result<OwnCgroup, String> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let (pid, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let unit = format!("tracexec-{pid}-{number}.service");
        let container = format!("c{pid:07x}{number:08x}").repeat(4);
        let service = at.join(&unit);
        let made = OwnCgroup { service, unit, container, _holder: holder };
        fs::create_dir_all(made.inner())
            .map_err(|error| format!("cannot make {}: {error}", made.inner().display()))?;
        Ok(made)
    }

    /// The container's folder.
    fn inner(&self) -> PathBuf {
        self.service.join(format!("docker-{}.scope", self.container))
    }

    /// The path of the container's, as the kernel shows it.
    fn path(&self) -> String {
        format!("/{}/docker-{}.scope", self.unit, self.container)
    }

    /// What a shell does to go there.
    fn enter(&self) -> String {
        format!("echo $$ > '{}/cgroup.procs' || exit 9", self.inner().display())
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.service.join("cgroup.kill"), "1");
        for folder in [self.inner(), self.service.clone()] {
            // Until the last process is gone it is busy.
            eventually("an empty cgroup", || {
                let removed = fs::remove_dir(&folder);
                (removed.is_ok() || !folder.exists()).then_some(())
            });
        }
    }
}

/// Mounts the hierarchy where only one process sees it; that process, and the way there.
fn mounted(world: &World) -> Result<(Running, PathBuf), String> {
    let folder = world.path("cgroup");
    fs::create_dir(&folder).unwrap();
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "sh",
        "-c",
        "mount -t cgroup2 none \"$1\" && echo mounted && exec cat",
    ]);
    command.arg("sh").arg(&folder).stdin(Stdio::piped());
    let mut holder = world.start(command);
    let said = first_line(&mut holder);
    if said != "mounted\n" {
        return Err(format!("cannot mount it: {}", finish(holder).stderr.trim()));
    }
    let at = format!("/proc/{}/root{}", holder.pid(), folder.display());
    Ok((holder, PathBuf::from(at)))
}

fn first_line(running: &mut Running) -> String {
    let mut line = String::new();
    let stdout = running.child().stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    line
}

/// Runs a script and tells whether the filter holds for the one `hello` in it.
#[track_caller]
fn holds(world: &World, filter: &str, script: &str) -> bool {
    let filter = format!("basename=hello and ({filter})");
    let outcome = world.debug_sh(&["--list", "-m", &filter], script);
    assert_eq!((outcome.code(), outcome.out().as_str()), (3, "hello\n"), "{}", outcome.stderr);
    if outcome.stderr.contains("nothing matched") {
        return false;
    }
    assert_eq!(outcome.stderr.lines().map(pid_in).count(), 1, "{}", outcome.stderr);
    true
}

#[test]
fn a_process_is_found_by_its_control_group_unit_and_container() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let Some(own) = OwnCgroup::new(&world) else { return };
    let script = format!("{}; sh -c '{}; exit $?'", own.enter(), hello.display());
    let (path, unit, id) = (own.path(), &own.unit, &own.container);
    let short = &id[..12];
    for (true_filter, false_filter) in [
        (&format!("cgroup={path} and cgroup"), "cgroup=/"),
        (&format!("cgroup contains {unit} and cgroup glob '*.scope'"), "not cgroup"),
        (&format!("unit={unit} and unit"), &*format!("unit!={unit}")),
        (&format!("container={id} and container={short}"), &format!("container!={short}")),
        (&format!("container in (no, {short})"), &format!("container=x{short}")),
        (&format!("parent.container={short} and parent.unit={unit}"), "not parent.container"),
        (&format!("ancestor.cgroup={path}"), "parent.cgroup=/"),
    ] {
        assert!(holds(&world, true_filter, &script), "should hold: {true_filter}");
        assert!(!holds(&world, false_filter, &script), "should not hold: {false_filter}");
    }
}

#[test]
fn outside_of_every_container_there_is_none() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    if !sees_whole_cgroups() {
        return untested("we are in a container ourselves");
    }
    let Some(own) = OwnCgroup::new(&world) else { return };
    let script =
        format!("echo $$ > '{}/cgroup.procs'; {}; exit $?", own.service.display(), hello.display());
    let filter = format!("not container and container!=a and unit={}", own.unit);
    assert!(holds(&world, &filter, &script));
    assert!(!holds(&world, "container", &script));
}

#[test]
fn a_process_is_found_by_its_namespaces() {
    let world = World::new();
    let hello = world.fixture("hello", &[]);
    let number =
        |pid: u32, name: &str| fs::metadata(format!("/proc/{pid}/ns/{name}")).unwrap().ino();
    let ours = std::process::id();
    let (pid, mnt) = (number(ours, "pid"), number(ours, "mnt"));

    let mut command = Command::new("unshare");
    command.args(["--pid", "--mount", "--fork", "sh", "-c", "echo made; exec cat"]);
    command.stdin(Stdio::piped());
    let mut unshare = world.start(command);
    assert_eq!(first_line(&mut unshare), "made\n", "{}", finish(unshare).stderr);
    let children = format!("/proc/{0}/task/{0}/children", unshare.pid());
    let inside: u32 = fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let (their_pid, their_mnt) = (number(inside, "pid"), number(inside, "mnt"));
    assert!(their_pid != pid && their_mnt != mnt);

    let here = format!("{}; exit $?", hello.display());
    // nsenter and unshare stop themselves when their child stops, so a shell is in between.
    let enter =
        |which: &str| format!("nsenter --target {inside} --root --wd {which} sh -c '{here}'");
    let (both, only_mount) = (enter("--pid --mount"), enter("--mount"));
    let within = format!("ns.pid={their_pid} and ns.mnt in (1, {their_mnt})");
    for (script, filter) in [
        (&here, &format!("ns.pid={pid} and ns.mnt={mnt}")),
        (&both, &within),
        (&only_mount, &format!("ns.pid={pid} and ns.mnt={their_mnt} and ns.mnt!={mnt}")),
    ] {
        assert!(holds(&world, filter, script), "should hold: {filter}");
        assert!(!holds(&world, &format!("not ({filter})"), script), "should hold: {filter}");
    }
    assert!(!holds(&world, &within, &here) && !holds(&world, &within, &only_mount));
    let fresh = format!("unshare --pid --mount --fork sh -c '{here}'");
    assert!(holds(&world, &format!("ns.pid!={pid} and ns.mnt!={mnt}"), &fresh));
}

#[test]
fn from_within_a_container_its_own_id_is_not_known() {
    let world = World::new();
    let own = world.tracexec(["debug", "--list", "-m", "not container", "--", "/bin/true"]);
    let mut command = Command::new("unshare");
    command.arg("--cgroup").arg(own.get_program()).args(own.get_args());
    world.prepare(&mut command);
    let outcome: Outcome = finish(world.start(command));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("nothing matched in 1 exec"), "{}", outcome.stderr);
    let told = "1 of 1 execs could not be judged: tracexec runs in a container itself";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
}
