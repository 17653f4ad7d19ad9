use super::*;

const ID: &str = "3f4b0c6e8d1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4";
const OTHER: &str = "00aa11bb22cc33dd44ee55ff6677889900aa11bb22cc33dd44ee55ff66778899";

/// The unit and the container, empty where there is none; `ID` and `OTHER` stand for numbers.
fn read(text: &str) -> [String; 2] {
    let text = text.replace("OTHER", OTHER).replace("ID", ID);
    let cgroup = Cgroup::parse(text.as_bytes(), true);
    let shown = |reading: Reading<&[u8]>| {
        let value = String::from_utf8(reading.known().unwrap_or_default().to_vec()).unwrap();
        value.replace(OTHER, "OTHER").replace(ID, "ID")
    };
    [shown(cgroup.unit()), shown(cgroup.container())]
}

#[track_caller]
fn all_are(paths: &[(&str, &str, &str)]) {
    for (path, unit, container) in paths {
        assert_eq!(read(&format!("0::{path}\n")), [*unit, *container], "{path}");
    }
}

#[test]
fn units_are_those_of_systemd() {
    all_are(&[
        ("/", "", ""),
        ("/init.scope", "init.scope", ""),
        ("/system.slice", "", ""),
        ("/system.slice/nginx.service", "nginx.service", ""),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", ""),
        ("/system.slice/ssh.service/sub/sub.service", "ssh.service", ""),
        (r"/system.slice/srv-a\x2db.mount", r"srv-a\x2db.mount", ""),
        (r"/system.slice/system-ifup\x2dpre.slice/x@a\x2db.service", r"x@a\x2db.service", ""),
        ("/system.slice/_memory.service", "memory.service", ""),
        ("/system.slice/systemd-udevd.service/udev", "systemd-udevd.service", ""),
        ("/../system.slice/cron.service", "cron.service", ""),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope", ""),
        ("/foo/bar.service", "", ""),
        ("/system.slice/no unit.service", "", ""),
        ("/system.slice/template@.service", "", ""),
        ("/system.slice/.service", "", ""),
        ("/process_api/d5a0bcb6241fb26e841feca0bfa90f83", "", ""),
        ("/system.slice/docker.service", "docker.service", ""),
        ("/system.slice/containerd.service", "containerd.service", ""),
    ]);
}

#[test]
fn below_a_user_s_manager_the_unit_is_the_user_s() {
    let user = "/user.slice/user-1000.slice/user@1000.service";
    for (rest, unit) in [
        ("", "user@1000.service"),
        ("/init.scope", "init.scope"),
        ("/app.slice", "user@1000.service"),
        ("/app.slice/foo.service", "foo.service"),
        ("/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1-2.scope", "vte-spawn-1-2.scope"),
        (
            r"/app.slice/app-gnome-org.gnome.Ptyxis\x2d1-42.scope",
            r"app-gnome-org.gnome.Ptyxis\x2d1-42.scope",
        ),
        ("/session.slice/org.gnome.Shell@wayland.service", "org.gnome.Shell@wayland.service"),
    ] {
        assert_eq!(read(&format!("0::{user}{rest}")), [unit, ""], "{rest}");
    }
}

#[test]
fn containers_of_docker_and_podman_are_known_by_their_ids() {
    let user = "/user.slice/user-1000.slice/user@1000.service";
    all_are(&[
        ("/system.slice/docker-ID.scope", "docker-ID.scope", "ID"),
        ("/system.slice/docker-ID.scope/init", "docker-ID.scope", "ID"),
        ("/docker/ID", "", "ID"),
        ("/docker/ID/docker/OTHER", "", "OTHER"),
        ("/my.slice/docker-ID.scope", "docker-ID.scope", "ID"),
        ("/../OTHER", "", "OTHER"),
        ("/machine.slice/libpod-ID.scope", "libpod-ID.scope", "ID"),
        ("/machine.slice/libpod-ID.scope/container", "libpod-ID.scope", "ID"),
        ("/machine.slice/libpod-conmon-ID.scope", "libpod-conmon-ID.scope", ""),
        ("/machine.slice/machine-libpod_pod_OTHER.slice/libpod-ID.scope", "libpod-ID.scope", "ID"),
        ("/libpod_parent/libpod-ID", "", "ID"),
        ("/libpod_parent/conmon", "", ""),
        ("/system.slice/web.service/libpod-payload-ID", "web.service", "ID"),
        ("/system.slice/web.service/runtime", "web.service", ""),
        ("/system.slice/nerdctl-ID.scope", "nerdctl-ID.scope", "ID"),
        ("/default/ID", "", "ID"),
        (&format!("{user}/user.slice/docker-ID.scope"), "docker-ID.scope", "ID"),
        (&format!("{user}/user.slice/libpod-ID.scope/container"), "libpod-ID.scope", "ID"),
        (
            &format!("{user}/user.slice/user-libpod_pod_OTHER.slice/libpod-ID.scope"),
            "libpod-ID.scope",
            "ID",
        ),
        (&format!("{user}/app.slice/web.service/libpod-payload-ID"), "web.service", "ID"),
        (&format!("{user}/user.slice/podman-42.scope"), "podman-42.scope", ""),
        ("/system.slice/OTHER-5a6b7c8d9e0f1a2b.service", "OTHER-5a6b7c8d9e0f1a2b.service", ""),
    ]);
}

#[test]
fn containers_of_kubernetes_are_known_by_their_ids() {
    let pod = "kubepods-burstable-pod1f2e3d4c_5b6a_7980_a1b2_c3d4e5f60718.slice";
    let slice = format!("/kubepods.slice/kubepods-burstable.slice/{pod}");
    let plain = "/kubepods/besteffort/pod1f2e3d4c-5b6a-7980-a1b2-c3d4e5f60718";
    let kind = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1.slice";
    all_are(&[
        (&slice, "", ""),
        (&format!("{slice}/cri-containerd-ID.scope"), "cri-containerd-ID.scope", "ID"),
        (&format!("{slice}/crio-ID.scope"), "crio-ID.scope", "ID"),
        (&format!("{slice}/crio-ID.scope/container"), "crio-ID.scope", "ID"),
        (&format!("{slice}/crio-conmon-ID.scope"), "crio-conmon-ID.scope", ""),
        (&format!("{slice}/docker-ID.scope"), "docker-ID.scope", "ID"),
        (plain, "", ""),
        (&format!("{plain}/ID"), "", "ID"),
        (&format!("{plain}/crio-ID"), "", "ID"),
        (
            &format!("/system.slice/containerd.service/{pod}:cri-containerd:ID"),
            "containerd.service",
            "ID",
        ),
        (&format!("/docker/OTHER{kind}/cri-containerd-ID.scope"), "", "ID"),
        (
            "/ecs/34dc0b5e626f2c5c4c5170e34b10e765/34dc0b5e626f2c5c4c5170e34b10e765-1234567890",
            "",
            "34dc0b5e626f2c5c4c5170e34b10e765-1234567890",
        ),
        ("/ecs/34dc0b5e626f2c5c4c5170e34b10e765/ID", "", "ID"),
    ]);
}

#[test]
fn containers_of_lxc_and_nspawn_are_known_by_their_names() {
    all_are(&[
        ("/lxc.payload.web", "", "web"),
        ("/lxc.payload.web.2/system.slice/nginx.service", "", "web.2"),
        ("/lxc.payload/web/init.scope", "", "web"),
        ("/lxc/101/ns", "", "101"),
        ("/lxc/outer/lxc/inner", "", "inner"),
        ("/lxc.monitor.web", "", ""),
        ("/lxc.monitor/web", "", ""),
        ("/lxc.payload.", "", ""),
        ("/user.slice/user-0.slice/session-1.scope/lxc/c1", "session-1.scope", "c1"),
        (
            "/machine.slice/systemd-nspawn@web-1.service/payload/system.slice/nginx.service",
            "systemd-nspawn@web-1.service",
            "web-1",
        ),
        (
            r"/machine.slice/systemd-nspawn@web\x2d1.service/payload",
            r"systemd-nspawn@web\x2d1.service",
            "web-1",
        ),
        ("/machine.slice/systemd-nspawn@web.service/supervisor", "systemd-nspawn@web.service", ""),
        (r"/machine.slice/machine-my\x2dbox.scope/payload", r"machine-my\x2dbox.scope", "my-box"),
        (
            r"/machine.slice/machine-lxc\x2d12\x2dbox.scope",
            r"machine-lxc\x2d12\x2dbox.scope",
            "lxc-12-box",
        ),
        (
            r"/machine.slice/machine-qemu\x2d1\x2ddebian.scope/libvirt/emulator",
            r"machine-qemu\x2d1\x2ddebian.scope",
            "",
        ),
        ("/system.slice/machine-x.scope", "machine-x.scope", ""),
    ]);
}

#[test]
fn version_1_hierarchies_are_read_where_there_is_no_better() {
    let path = |text: &str| Cgroup::parse(text.as_bytes(), true).path;
    let known = |path: &str| Reading::Known(path.as_bytes().to_vec());
    let old = "12:memory:/system.slice/a.service\n2:cpu,cpuacct:/x\n1:name=systemd:/system.slice/a.service\n";
    assert_eq!(path(old), known("/system.slice/a.service"));
    assert_eq!(read(old), ["a.service", ""]);
    let hybrid = "1:name=systemd:/user.slice/user-0.slice/session-1.scope\n0::/\n";
    assert_eq!(path(hybrid), known("/"));
    assert_eq!(read(hybrid), ["session-1.scope", ""]);
    let docker =
        "4:memory:/docker/ID\n1:name=systemd:/docker/ID\n0::/system.slice/containerd.service\n";
    assert_eq!(read(docker), ["containerd.service", "ID"]);
    let without_systemd = "3:cpuset:/\n2:memory:/docker/ID\n";
    assert_eq!(path(without_systemd), Reading::Missing);
    assert_eq!(read(without_systemd), ["", "ID"]);
}

#[test]
fn within_a_container_of_our_own_only_those_further_in_are_known() {
    let container = |path: &str| {
        Cgroup::parse(format!("0::{path}\n").replace("ID", ID).as_bytes(), false).container
    };
    assert_eq!(container("/"), Reading::Unknown);
    assert_eq!(container("/system.slice/nginx.service"), Reading::Unknown);
    assert_eq!(container("/docker/ID"), Reading::Known(ID.as_bytes().to_vec()));
    assert_eq!(Cgroup::parse(b"0::/\n", false).unit, Reading::Missing);
}

#[test]
fn any_bytes_are_read() {
    let strange: [&[u8]; 14] = [
        b"",
        b"\n",
        b":",
        b"::",
        b"0::",
        b"0::relative",
        b"0::///_//",
        b"0::/\xff.service",
        b"0::/_",
        b"0::/machine.slice/machine-.scope",
        b"0::/machine.slice/machine-\\x.scope",
        b"0::/machine.slice/machine-\\x+1\\xg0.scope",
        b"0::/systemd-nspawn@.service",
        b"0::/-:-.scope",
    ];
    for text in strange {
        Cgroup::parse(text, true);
    }
    let gone = Cgroup::parse(b"0::/a\xff/b: c (deleted)\n", true);
    assert_eq!(gone.path, Reading::Known(b"/a\xff/b: c".to_vec()));
    let named = Cgroup::parse(b"0::/lxc.payload.caf\xe9\n", true);
    assert_eq!(named.container, Reading::Known(b"caf\xe9".to_vec()));
    assert_eq!(unescaped(b"a\\x2db\\x+1\\x2\\"), b"a-b\\x+1\\x2\\");
}
