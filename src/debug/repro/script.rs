//! A script for bash that runs a program again: env(1) sets the variables, since a shell knows those only
//! whose names are identifiers, and adds its own. Whatever the program had open, bash reads the whole script before
//! it runs any of it.

use std::collections::HashSet;
use std::fmt::Write;

use super::{Descriptor, Repro, UNKNOWN_CWD};
use crate::event::Strings;
use crate::text::escape;
use crate::text::json::OwnedBytes;

/// Where bash has no other way to give a program its own name: perl, since env(1) has learnt it late.
const PERL: &str = r#"%ENV = (); my ($n, @rest) = @ARGV; for (splice @rest, 0, $n) { my ($k, $v) = split /=/, $_, 2; $ENV{$k} = $v } my $file = shift @rest; exec {$file} @rest; die "$file: $!\n""#;

/// bash reads a script by a descriptor, 255 as a rule, which may be one of the program's: so the script is read as a
/// whole by another bash, which has none of its own. From a pipe it runs as it is.
const WHOLE: &str = r#"file=$0
[[ $file == */* ]] || file=./$file
if ! (return 0) 2>/dev/null && [[ -f $file ]]; then
  exec /bin/bash -c '. "$0"' "$file"
fi
"#;

/// A word as bash takes it, in any locale, byte for byte.
fn word(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return escape::word(bytes);
    }
    let mut quoted = String::from("$'");
    for &byte in bytes {
        match byte {
            b'\\' | b'\'' => quoted.extend(['\\', byte as char]),
            0x20..0x7f => quoted.push(byte as char),
            // Three digits always: what follows may be a digit.
            _ => _ = write!(quoted, "\\{byte:03o}"),
        }
    }
    quoted.push('\'');
    quoted
}

/// The script's text.
pub fn write(repro: &Repro) -> Vec<u8> {
    let mut text = String::from("#!/bin/bash\n");
    let argv: Strings = repro.argv.iter().map(|argument| &argument.0).collect();
    let (pid, time) = (repro.pid, escape::text(repro.time.as_bytes()));
    let line = escape::command_line(&argv, 200);
    let _ = writeln!(text, "# Runs again what process {pid} executed, {time}:\n# {line}");
    text.push_str("# Under a debugger: tracexec rerun, with the folder of this file.\n\n");
    text.push_str(WHOLE);
    text.push_str("{\n");
    if repro.cwd.0.is_empty() {
        say(&mut text, UNKNOWN_CWD);
    } else {
        let _ = writeln!(text, "cd -- {} || exit 125", word(&repro.cwd.0));
    }
    if let Some(umask) = repro.umask {
        let _ = writeln!(text, "umask {umask:04o}");
    }
    descriptors(&mut text, repro);
    let variables = variables(&mut text, repro);
    let _ = writeln!(text, "\nvariables=(");
    for entry in &variables {
        let _ = writeln!(text, "  {}", word(entry));
    }
    let _ = writeln!(text, ")\narguments=(");
    for OwnedBytes(argument) in repro.argv.iter().skip(1) {
        let Some(words) = repro.words_of(argument) else {
            let _ = writeln!(text, "  {}", word(argument));
            continue;
        };
        let words: Vec<String> = words.iter().map(|argument| word(argument)).collect();
        let _ = writeln!(text, ")\nif [[ -e {} ]]; then", word(&argument[1..]));
        let _ = writeln!(text, "  arguments+=({})\nelse", word(argument));
        say(&mut text, "a response file is gone: its words stand in its place");
        let _ = writeln!(text, "  arguments+=({})\nfi\narguments+=(", words.join(" "));
    }
    let _ = writeln!(text, ")\nprogram={}", word(&repro.program.0));
    execute(&mut text, repro);
    text.push_str("exit 125\n}\n");
    text.into_bytes()
}

fn say(text: &mut String, what: &str) {
    let _ = writeln!(text, "echo {} >&2", word(format!("repro.sh: {what}").as_bytes()));
}

fn descriptors(text: &mut String, repro: &Repro) {
    for fd in &repro.fds {
        let Some(why) = &fd.lost else { continue };
        let (number, target) = (fd.number, escape::text(&fd.target.0));
        let why = escape::text(why.as_bytes());
        if number < 3 {
            let _ = writeln!(text, "# Descriptor {number} was {why} ({target}): it is yours.");
        } else {
            say(text, &format!("descriptor {number} was {why} ({target}) and is not there"));
        }
    }
    for fd in repro.fds.iter().filter(|fd| fd.lost.is_none()) {
        open(text, fd);
    }
    for number in 0..3 {
        if !repro.fds.iter().any(|fd| fd.number == number) {
            let _ = writeln!(text, "exec {number}>&-");
        }
    }
}

fn open(text: &mut String, fd: &Descriptor) {
    let operator = match (fd.reads, fd.writes, fd.appends) {
        (false, _, true) => ">>",
        (_, true, _) => "<>",
        _ => "<",
    };
    let number = fd.number;
    let _ = writeln!(text, "exec {number}{operator}{} || exit 125", word(&fd.target.0));
    if fd.position == 0 {
        return;
    }
    let position = fd.position;
    let _ = if fd.reads {
        writeln!(text, "dd bs=1 skip={position} count=0 status=none <&{number}")
    } else {
        writeln!(text, "dd bs=1 seek={position} count=0 conv=notrunc status=none >&{number}")
    };
}

/// The variables that env(1) can set; the others are said.
fn variables(text: &mut String, repro: &Repro) -> Vec<Vec<u8>> {
    let Some(env) = &repro.env else {
        say(text, "the environment could not be read: there is none");
        return Vec::new();
    };
    let mut names = HashSet::new();
    let mut variables = Vec::new();
    for entry in env {
        let name = memchr::memchr(b'=', &entry.0).map(|at| &entry.0[..at]);
        match name {
            Some(name) if !name.is_empty() && names.insert(name) => variables.push(entry.0.clone()),
            _ => {
                let shown = escape::shorten(&escape::text(&entry.0), 60).into_owned();
                say(text, &format!("no shell can set this entry of the environment: {shown}"));
            }
        }
    }
    variables
}

fn execute(text: &mut String, repro: &Repro) {
    let name = repro.argv.first().map_or(&[][..], |name| &name.0);
    // To env(1) a word with `=` is a variable.
    let by_env = !repro.program.0.contains(&b'=') && !repro.program.0.starts_with(b"-");
    let rest = "\"${variables[@]}\" \"$program\" \"${arguments[@]}\"";
    if name == repro.program.0 && by_env {
        let _ = writeln!(text, "\nexec env -i -- {rest}");
        return;
    }
    let _ = writeln!(text, "name={}\n", word(name));
    if by_env {
        text.push_str("if env -i --argv0=sh sh -c : 2>/dev/null; then\n");
        let _ = writeln!(text, "  exec env -i --argv0=\"$name\" -- {rest}\nfi");
    }
    text.push_str("if command -v perl >/dev/null; then\n  exec perl -e ");
    text.push_str(&word(PERL.as_bytes()));
    text.push_str(
        " -- ${#variables[@]} \"${variables[@]}\" \"$program\" \"$name\" \"${arguments[@]}\"\nfi\n",
    );
    say(text, "bash gives it the variables _, SHLVL and PWD beside its own");
    text.push_str("exec env -i -- \"${variables[@]}\" /bin/bash -p -c 'exec -a \"$0\" -- \"$@\"'");
    // bash would look in the home folder for what begins with a `~`.
    let program = if repro.program.0.starts_with(b"~") { "./$program" } else { "$program" };
    let _ = writeln!(text, " \"$name\" \"{program}\" \"${{arguments[@]}}\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_bytes_in_any_locale() {
        assert_eq!(word(b"a b"), "'a b'");
        assert_eq!(word("é1".as_bytes()), r"$'\303\2511'");
        assert_eq!(word(b"\n'\\\xff"), r"$'\012\'\\\377'");
    }
}
