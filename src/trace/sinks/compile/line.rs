//! A compiler's command line: its sources, and what remains of it for one of them.

use std::path::Path;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::response;
use crate::event::Strings;

/// A command line in parts.
#[derive(Debug, Default)]
pub struct Line {
    program: Vec<u8>,
    /// Without sources, the output, and what is for the linker or for make.
    flags: Vec<Flag>,
    /// Nothing where it does not compile.
    pub sources: Vec<Source>,
    /// What was named by -o, of the linker too.
    pub named: Option<Vec<u8>>,
    /// Of the compilation.
    pub output: Option<Vec<u8>>,
}

/// A word that remains.
#[derive(Debug)]
struct Flag {
    word: Vec<u8>,
    /// It belongs to this -x, which is for the sources up to the next one.
    language: Option<usize>,
}

/// A file that is compiled.
#[derive(Debug)]
pub struct Source {
    pub name: Vec<u8>,
    /// Which -x is for it, from 1.
    language: usize,
}

/// Long names, by the short ones that are known below; see gcc's common.opt and c.opt.
const LONG: [(&str, &str); 22] = [
    ("--assemble", "-S"),
    ("--compile", "-c"),
    ("--dependencies", "-M"),
    ("--entry", "-e"),
    ("--for-linker", "-Xlinker"),
    ("--force-link", "-u"),
    ("--language", "-x"),
    ("--library-directory", "-L"),
    ("--no-standard-libraries", "-nostdlib"),
    ("--output", "-o"),
    ("--pie", "-pie"),
    ("--preprocess", "-E"),
    ("--print-missing-file-dependencies", "-MG"),
    ("--shared", "-shared"),
    ("--static", "-static"),
    ("--static-pie", "-static-pie"),
    ("--symbolic", "-symbolic"),
    ("--user-dependencies", "-MM"),
    ("--write-dependencies", "-MD"),
    ("--write-user-dependencies", "-MMD"),
    ("--print-file-name", "-print-file-name"),
    ("--print-prog-name", "-print-prog-name"),
];

/// Options whose value is the next word.
const WITH_VALUE: &[&str] = &[
    "-A",
    "-B",
    "-D",
    "-F",
    "-G",
    "-I",
    "-U",
    "-b",
    "-arch",
    "-aux-info",
    "-target",
    "-gcc-toolchain",
    "-wrapper",
    "-specs",
    "-resource-dir",
    "-dumpbase",
    "-dumpbase-ext",
    "-dumpdir",
    "-framework",
    "-filelist",
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
    "-imultiarch",
    "-iframework",
    "-cxx-isystem",
    "-c-isystem",
    "-stdlib++-isystem",
    "-ivfsoverlay",
    "-vfsoverlay",
    "-include-pch",
    "-iframeworkwithsysroot",
    "-iwithsysroot",
    "-iapinotes-modules",
    "-Xassembler",
    "-Xpreprocessor",
    "-Xclang",
    "-Xanalyzer",
    "-Xarch_host",
    "-Xarch_device",
    "-Xcuda-fatbinary",
    "-Xcuda-ptxas",
    "-Xopenmp-target",
    "-mllvm",
    "-mmlir",
    "-working-directory",
    "-mthread-model",
    "-meabi",
    "-serialize-diagnostics",
    "-fdebug-compilation-dir",
    "-fmodules-user-build-path",
    "-ftrapv-handler",
    "-fintrinsic-modules-path",
    "-darwin-target-variant",
    "-darwin-target-variant-triple",
    "-ccc-gcc-name",
    "-ccc-install-dir",
    "-module-dependency-dir",
    // Long ones, whose value may also follow a `=`.
    "--analyzer-output",
    "--assert",
    "--config",
    "--define-macro",
    "--dump",
    "--dumpbase",
    "--dumpbase-ext",
    "--dumpdir",
    "--for-assembler",
    "--imacros",
    "--include",
    "--include-directory",
    "--include-directory-after",
    "--include-prefix",
    "--include-with-prefix",
    "--include-with-prefix-after",
    "--include-with-prefix-before",
    "--output-pch=",
    "--param",
    "--prefix",
    "--serialize-diagnostics",
    "--specs",
    "--std",
    "--sysroot",
    "--target",
    "--undefine-macro",
    "--vfsoverlay",
];

/// The same, and the compiler itself has no use for them.
const FOR_OTHERS: &[&str] = &[
    "-L",
    "-l",
    "-T",
    "-Tbss",
    "-Tdata",
    "-Ttext",
    "-R",
    "-h",
    "-u",
    "-z",
    "-e",
    "-Xlinker",
    "-Xoffload-linker",
    "-MF",
    "-MT",
    "-MQ",
    "-MJ",
    "-dependency-file",
    "-dependency-dot",
    "-gen-cdb-fragment-path",
    "-rpath",
    "-install_name",
    "-undefined",
    "-dylib_file",
    "-dsym-dir",
];

/// Without a value, for the linker or for make.
const ALONE_FOR_OTHERS: &[&str] = &[
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
const BEGIN_FOR_OTHERS: &[&str] = &[
    "-Wl,",
    "-L",
    "-l",
    "-fuse-ld=",
    "-flinker-output=",
    "-MF",
    "-MT",
    "-MQ",
    "-MJ",
    "-static-lib",
    "--ld-path=",
];

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

/// The same, with more behind it.
static PRINTS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^(--?print-|--completion=)").expect("the one above"));

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
        let (mut links, mut compiles, mut options) = (true, true, true);
        // The -x that is in force, and whether all files are sources then.
        let (mut language, mut names_files) = (0, false);
        while let Some(word) = words.next() {
            let option = options && word.len() > 1 && word.starts_with(b"-");
            if !option {
                // Others are the linker's, or standard input.
                if word != b"-" && (names_files || is_source(&word)) {
                    line.sources.push(Source { name: word, language });
                }
                continue;
            }
            let (name, joined) = short(&word);
            if name == b"--" {
                options = false;
            } else if is_one_of(&NO_COMPILATION, name) || PRINTS.is_match(name) {
                compiles = false;
            } else if name == b"-o" {
                line.output = joined.map(<[u8]>::to_vec).or_else(|| words.next());
            } else if let Some(output) = name.strip_prefix(b"-o")
                && !name.starts_with(b"-objc")
            {
                line.output = Some(output.to_vec());
            } else if is_one_of(FOR_OTHERS, name) {
                if joined.is_none() {
                    words.next();
                }
            } else if is_one_of(ALONE_FOR_OTHERS, name)
                || BEGIN_FOR_OTHERS.iter().any(|begin| name.starts_with(begin.as_bytes()))
            {
            } else if let Some(value) = name.strip_prefix(b"-x") {
                let value = joined.unwrap_or(value).to_vec();
                let next = if value.is_empty() { words.next() } else { None };
                language += 1;
                // `none` stays as well: after it, g++ takes `.c` for C.
                names_files = next.as_deref().unwrap_or(&value) != b"none";
                let words = [Some(word), next].into_iter().flatten();
                line.flags.extend(words.map(|word| Flag { word, language: Some(language) }));
            } else {
                links &= !is_one_of(&NO_LINKING, name);
                let next = if is_one_of(WITH_VALUE, name) { words.next() } else { None };
                line.flags.extend([Some(word), next].into_iter().flatten().map(Flag::from));
            }
        }
        line.named = line.output.clone();
        if links {
            // The program that is linked is not what comes of the source.
            line.output = None;
            line.flags.insert(0, b"-c".to_vec().into());
        }
        if !compiles {
            line.sources.clear();
        }
        line.flags.extend(env.map(searched).unwrap_or_default().into_iter().map(Flag::from));
        line
    }

    /// What it is for one of its sources.
    pub fn arguments(&self, source: &Source) -> Vec<Vec<u8>> {
        let mut words = vec![self.program.clone()];
        let counts =
            |flag: &&Flag| flag.language.is_none_or(|language| language == source.language);
        words.extend(self.flags.iter().filter(counts).map(|flag| flag.word.clone()));
        if let Some(output) = &self.output {
            words.extend([b"-o".to_vec(), output.clone()]);
        }
        if source.name.starts_with(b"-") {
            words.push(b"--".to_vec());
        }
        words.push(source.name.clone());
        words
    }
}

impl From<Vec<u8>> for Flag {
    fn from(word: Vec<u8>) -> Flag {
        Flag { word, language: None }
    }
}

/// A long option as the short one that it is another name of, with the value that it has after a `=`.
fn short(word: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (name, value) = match memchr::memchr(b'=', word) {
        Some(at) => (&word[..at], Some(&word[at + 1..])),
        None => (word, None),
    };
    match LONG.iter().find(|(long, _)| long.as_bytes() == name) {
        Some((_, short)) => (short.as_bytes(), value),
        None => (word, None),
    }
}

/// The folders that variables name, which whoever reads the entry does not have; see gcc(1).
fn searched(env: &Strings) -> Vec<Vec<u8>> {
    let mut flags = Vec::new();
    for (name, flag) in
        [("CPATH", "-I"), ("C_INCLUDE_PATH", "-isystem"), ("CPLUS_INCLUDE_PATH", "-isystem")]
    {
        let Some(value) = crate::machine::procfs::variable(env.block(), name.as_bytes()) else {
            continue;
        };
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
        let entry = |source: &Source| {
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
            ("cc -xc++ -c odd -xnone other", &["cc -xc++ -c odd"]),
            ("cc -x c a.in -x none m.c", &["cc -c -x c a.in", "cc -c -x none m.c"]),
            ("c++ -c -x c a.c -x c++ b.c", &["c++ -c -x c a.c", "c++ -c -x c++ b.c"]),
            (
                "cc --language=c -c a.in --language c++ b",
                &["cc --language=c -c a.in", "cc -c --language c++ b"],
            ),
            ("cc --compile --output=a.o a.c", &["cc --compile -o a.o a.c"]),
            (
                "cc -c --output a.o --include x.c --define-macro X=1 a.c",
                &["cc -c --include x.c --define-macro X=1 -o a.o a.c"],
            ),
            ("cc --write-dependencies -MF x.c --library-directory y.c -c a.c", &["cc -c a.c"]),
            ("cc --preprocess a.c", &[]),
            ("cc --print-file-name a.c", &[]),
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
        let flags = line.flags.iter().map(|flag| String::from_utf8_lossy(&flag.word));
        let flags: Vec<_> = flags.collect();
        assert_eq!(flags, ["-c", "-DX=a b", "-DY=\"c\""]);
        assert_eq!(line.sources[0].name, b"a b.c");
    }

    #[test]
    fn folders_that_only_the_environment_names_become_options() {
        let env: Strings = ["CPATH=/a::/b", "C_INCLUDE_PATH=/c"].into_iter().collect();
        let words = ["cc", "-c", "a.c"].map(|word| word.as_bytes().to_vec());
        let line = Line::parse(words.to_vec(), Path::new("/"), Some(&env));
        let words = line.arguments(&line.sources[0]).join(&b' ');
        assert_eq!(String::from_utf8(words).unwrap(), "cc -c -I /a -I . -I /b -isystem /c a.c");
    }
}
