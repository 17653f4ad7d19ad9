//! Compiles bpf/ and generates the Rust side of bpf/interface.h, where the feature `ebpf` is on.

fn main() {
    #[cfg(feature = "ebpf")]
    ebpf::build();
}

#[cfg(feature = "ebpf")]
mod ebpf {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use libbpf_cargo::SkeletonBuilder;
    use object::{Object, ObjectSection};

    /// Any of these can compile for BPF with what we use of CO-RE.
    const CLANGS: [&str; 9] = [
        "clang", "clang-22", "clang-21", "clang-20", "clang-19", "clang-18", "clang-17",
        "clang-16", "clang-15",
    ];

    pub fn build() {
        println!("cargo:rerun-if-changed=bpf");
        println!("cargo:rerun-if-env-changed=CLANG");
        let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
        let Some(clang) = clang() else {
            fail(
                "tracexec's eBPF programs need clang 15 or later, and there is none: install it \
                  (Debian: apt install clang-19), name it by $CLANG, or build without them: \
                  cargo build --no-default-features",
            );
        };
        // libbpf-sys says where it has put libbpf's headers.
        let headers = std::env::var("DEP_BPF_INCLUDE").unwrap_or_default();
        let compile = |object: &str, defined: &[&str]| {
            let common = ["-mcpu=v3", "-Wall", "-Werror", "-I", &headers];
            let mut builder = SkeletonBuilder::new();
            builder
                .source("bpf/exec.bpf.c")
                .obj(out.join(object))
                .clang(&clang)
                .clang_args(common.iter().chain(defined))
                .reference_obj(true);
            if let Err(error) = builder.build() {
                fail(&format!("bpf/exec.bpf.c: {error:#}"));
            }
            builder
        };
        compile("exec.bpf.o", &[]);
        // Named as the first is, since the generated names come from there.
        let _ = fs::create_dir(out.join("old"));
        compile("old/exec.bpf.o", &["-DNO_BPF_LOOP"]);
        let _ = fs::create_dir(out.join("late"));
        let mut late = compile("late/exec.bpf.o", &["-DREADS_LATE"]);
        if let Err(error) = late.generate(out.join("exec.skel.rs")) {
            fail(&format!("late/exec.bpf.o: {error:#}"));
        }
        if let Err(error) = choose_object(&out).and_then(|()| write_types(&out)) {
            fail(&format!("exec.bpf.o: {error}"));
        }
    }

    /// The programs and maps of all objects have the same names, so that one skeleton can open any: which,
    /// src/source/ebpf.rs says.
    fn choose_object(out: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let path = out.join("exec.skel.rs");
        let (text, fixed) = (fs::read_to_string(&path)?, "ConfigBuilder::new(&DATA)");
        if text.matches(fixed).count() != 1 {
            return Err("libbpf-cargo no longer generates what is expected of it".into());
        }
        fs::write(path, text.replace(fixed, "ConfigBuilder::new(super::object())"))?;
        Ok(())
    }

    /// The programs' type information by itself, see src/source/ebpf/layout.rs.
    fn write_types(out: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let bytes = fs::read(out.join("late/exec.bpf.o"))?;
        let elf = object::File::parse(bytes.as_slice())?;
        let types = elf.section_by_name(".BTF").ok_or("it has no section .BTF")?;
        fs::write(out.join("exec.btf"), types.data()?)?;
        Ok(())
    }

    fn clang() -> Option<String> {
        let works = |name: &String| {
            let output = Command::new(name).arg("--print-targets").output();
            output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("bpf"))
        };
        match std::env::var("CLANG") {
            Ok(name) => Some(name),
            Err(_) => CLANGS.iter().map(|name| name.to_string()).find(works),
        }
    }

    /// One message, without a backtrace around it.
    fn fail(why: &str) -> ! {
        println!("cargo::error={}", why.replace('\n', " "));
        std::process::exit(1)
    }
}
