//! A compiler's command line: its sources, and what remains of it for one of them.

use std::path::Path;

use super::response;
use crate::event::Strings;

/// A command line in parts.
#[derive(Debug, Default)]
pub struct Line {
    program: Vec<u8>,
    /// Without sources, the output, and what is for the linker or for make.
    flags: Vec<Vec<u8>>,
    /// Nothing where it does not compile.
    pub sources: Vec<Vec<u8>>,
    /// What was named by -o, of the linker too.
    pub named: Option<Vec<u8>>,
    /// Of the compilation.
    pub output: Option<Vec<u8>>,
}

/// Options whose value is the next word.
const WITH_VALUE: [&str; 53] = [
    "-x",
    "-D",
    "-U",
    "-A",
    "-I",
    "-F",
    "-B",
    "-G",
    "-include",
    "-imacros",
    "-idirafter",
    "-iprefix",
    "-iwithprefix",
    "-iwithprefixbefore",
    "-isystem",
    "-isystem-after",
    "-iquote",
    "-isysroot",
    "-imultilib",
    "-iframework",
    "-cxx-isystem",
    "-c-isystem",
    "-stdlib++-isystem",
    "-ivfsoverlay",
    "-include-pch",
    "-iframeworkwithsysroot",
    "-iwithsysroot",
    "-framework",
    "-Xassembler",
    "-Xpreprocessor",
    "-Xclang",
    "-Xanalyzer",
    "-Xarch_host",
    "-Xarch_device",
    "-Xopenmp-target",
    "-mllvm",
    "-aux-info",
    "-arch",
    "-target",
    "--target",
    "-gcc-toolchain",
    "--param",
    "-wrapper",
    "-dumpbase",
    "-dumpbase-ext",
    "-dumpdir",
    "--sysroot",
    "--config",
    "-working-directory",
    "-mthread-model",
    "-meabi",
    "-serialize-diagnostics",
    "--serialize-diagnostics",
];

/// The same, and the compiler itself has no use for them.
const FOR_OTHERS: [&str; 15] = [
    "-L",
    "-l",
    "-T",
    "-u",
    "-z",
    "-e",
    "-Xlinker",
    "-MF",
    "-MT",
    "-MQ",
    "-MJ",
    "-rpath",
    "-install_name",
    "-undefined",
    "-dylib_file",
];

/// Without a value, for the linker or for make.
const ALONE_FOR_OTHERS: [&str; 20] = [
    "-MD",
    "-MMD",
    "-MP",
    "-MG",
    "-MV",
    "-nostartfiles",
    "-nodefaultlibs",
    "-nolibc",
    "-nostdlib",
    "-pie",
    "-no-pie",
    "-static-pie",
    "-r",
    "-rdynamic",
    "-s",
    "-symbolic",
    "-static",
    "-shared",
    "-static-libgcc",
    "-shared-libgcc",
];

/// The beginnings of such.
const BEGIN_FOR_OTHERS: [&str; 8] =
    ["-Wl,", "-L", "-l", "-fuse-ld=", "-flinker-output=", "-MF", "-static-lib", "--ld-path="];

/// It only preprocesses or answers a question.
const NO_COMPILATION: [&str; 9] = [
    "-E",
    "-M",
    "-MM",
    "--version",
    "--help",
    "--target-help",
    "-###",
    "-dumpversion",
    "-dumpmachine",
];

/// It compiles, and does not link.
const NO_LINKING: [&str; 4] = ["-c", "-S", "-fsyntax-only", "--precompile"];

/// What gcc and clang compile, by the ends of the names.
const SOURCES: [&str; 32] = [
    "c", "i", "ii", "cc", "cp", "cxx", "cpp", "CPP", "c++", "C", "m", "mi", "mm", "M", "mii", "h",
    "hh", "H", "hp", "hxx", "hpp", "HPP", "h++", "tcc", "s", "S", "sx", "cu", "hip", "cl", "cppm",
    "ixx",
];

fn is_source(word: &[u8]) -> bool {
    let name = crate::event::basename(word);
    let end = memchr::memrchr(b'.', name).filter(|&at| at > 0).map(|at| &name[at + 1..]);
    end.is_some_and(|end| SOURCES.iter().any(|source| source.as_bytes() == end))
}

/// Whether it may compile something.
pub fn has_sources(argv: &Strings) -> bool {
    argv.iter().skip(1).any(|word| is_source(word) || word.starts_with(b"@"))
}

fn is_one_of(words: &[&str], word: &[u8]) -> bool {
    words.iter().any(|one| one.as_bytes() == word)
}

impl Line {
    /// Reads it, response files from where it was run.
    pub fn parse(words: Vec<Vec<u8>>, directory: &Path, env: Option<&Strings>) -> Line {
        let mut words = response::expanded(words, directory).into_iter();
        let mut line = Line { program: words.next().unwrap_or_default(), ..Line::default() };
        let (mut links, mut compiles, mut language, mut options) = (true, true, false, true);
        while let Some(word) = words.next() {
            let option = options && word.len() > 1 && word.starts_with(b"-");
            if !option {
                // Others are the linker's, or standard input.
                if word != b"-" && (language || is_source(&word)) {
                    line.sources.push(word);
                }
            } else if word == b"--" {
                options = false;
            } else if is_one_of(&NO_COMPILATION, &word) || word.starts_with(b"-print-") {
                compiles = false;
            } else if word == b"-o" {
                line.output = words.next();
            } else if let Some(output) = word.strip_prefix(b"-o")
                && !word.starts_with(b"-objc")
            {
                line.output = Some(output.to_vec());
            } else if is_one_of(&FOR_OTHERS, &word) {
                words.next();
            } else if is_one_of(&ALONE_FOR_OTHERS, &word)
                || BEGIN_FOR_OTHERS.iter().any(|begin| word.starts_with(begin.as_bytes()))
            {
            } else if let Some(value) = word.strip_prefix(b"-x") {
                let next = if value.is_empty() { words.next() } else { None };
                language = next.as_deref().unwrap_or(value) != b"none";
                line.flags.push(word);
                line.flags.extend(next);
            } else {
                links &= !is_one_of(&NO_LINKING, &word);
                let next = if is_one_of(&WITH_VALUE, &word) { words.next() } else { None };
                line.flags.push(word);
                line.flags.extend(next);
            }
        }
        line.named = line.output.clone();
        if links {
            // The program that is linked is not what comes of the source.
            line.output = None;
            line.flags.insert(0, b"-c".to_vec());
        }
        if !compiles {
            line.sources.clear();
        }
        line.flags.extend(env.map(searched).unwrap_or_default());
        line
    }

    /// What it is for one of its sources.
    pub fn arguments(&self, source: &[u8]) -> Vec<Vec<u8>> {
        let mut words = vec![self.program.clone()];
        words.extend_from_slice(&self.flags);
        if let Some(output) = &self.output {
            words.extend([b"-o".to_vec(), output.clone()]);
        }
        if source.starts_with(b"-") {
            words.push(b"--".to_vec());
        }
        words.push(source.to_vec());
        words
    }
}

/// The folders that variables name, which whoever reads the entry does not have; see gcc(1).
fn searched(env: &Strings) -> Vec<Vec<u8>> {
    let mut flags = Vec::new();
    for (name, flag) in
        [("CPATH", "-I"), ("C_INCLUDE_PATH", "-isystem"), ("CPLUS_INCLUDE_PATH", "-isystem")]
    {
        let Some(value) = crate::procfs::variable(env.block(), name.as_bytes()) else { continue };
        for folder in value.split(|&byte| byte == b':') {
            let folder = if folder.is_empty() { b"." } else { folder };
            flags.extend([flag.as_bytes().to_vec(), folder.to_vec()]);
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parse(words: &str) -> Line {
        let words = words.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        Line::parse(words, Path::new("/none"), None)
    }

    /// The entries of a command line.
    fn shown(words: &str) -> Vec<String> {
        let line = parse(words);
        let entry = |source: &Vec<u8>| {
            let words = line.arguments(source);
            String::from_utf8(words.join(&b' ')).unwrap()
        };
        line.sources.iter().map(entry).collect()
    }

    #[test]
    fn each_source_has_an_entry_with_what_the_compiler_needs() {
        for (words, expected) in [
            ("cc -c a.c -o a.o", &["cc -c -o a.o a.c"][..]),
            ("cc a.c b.c -o p -lm -L. -Wl,-s", &["cc -c a.c", "cc -c b.c"]),
            ("cc -oa.o -c -O2 a.c", &["cc -c -O2 -o a.o a.c"]),
            ("cc -MD -MF a.d -MT x.c -c a.c", &["cc -c a.c"]),
            ("cc -I b.c -D x.c -include y.c -c a.c", &["cc -I b.c -D x.c -include y.c -c a.c"]),
            ("cc -x c -c - odd", &["cc -x c -c odd"]),
            ("cc -xc++ -c odd -xnone other", &["cc -xc++ -c -xnone odd"]),
            ("cc -S a.c", &["cc -S a.c"]),
            ("clang -c -- -a.c", &["clang -c -- -a.c"]),
            ("cc a.o b.o -o p", &[]),
            ("cc -E a.c", &[]),
            ("cc -M -c a.c", &[]),
            ("cc -print-file-name=a.c", &[]),
            ("cc --version a.c", &[]),
            ("cc", &[]),
        ] {
            assert_eq!(shown(words), expected, "{words}");
        }
    }

    #[test]
    fn response_files_are_read_with_their_quotes_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one"), "-c\n'-DX=a b' \"-DY=\\\"c\\\"\" @two\n").unwrap();
        fs::write(folder.path().join("two"), "a\\ b.c @two").unwrap();
        let words = ["cc", "@one", "@none"].map(|word| word.as_bytes().to_vec());
        let line = Line::parse(words.to_vec(), folder.path(), None);
        let flags: Vec<_> = line.flags.iter().map(|flag| String::from_utf8_lossy(flag)).collect();
        assert_eq!(flags, ["-c", "-DX=a b", "-DY=\"c\""]);
        assert_eq!(line.sources[0], b"a b.c");
    }

    #[test]
    fn folders_that_only_the_environment_names_become_options() {
        let env: Strings = ["CPATH=/a::/b", "C_INCLUDE_PATH=/c"].into_iter().collect();
        let words = ["cc", "-c", "a.c"].map(|word| word.as_bytes().to_vec());
        let line = Line::parse(words.to_vec(), Path::new("/"), Some(&env));
        let words = line.arguments(b"a.c").join(&b' ');
        assert_eq!(String::from_utf8(words).unwrap(), "cc -c -I /a -I . -I /b -isystem /c a.c");
    }
}
