//! A generated C project, for a build that is like real ones: gcc, cc1, as and
//! collect2 under a parallel make.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::measure::{Job, words};

const FUNCTIONS: u32 = 4;

pub struct Build {
    pub make: Job,
    /// Run before every timed build.
    pub clean: Job,
    pub label: String,
}

/// A project of so many files.
pub fn generate(dir: &Path, files: u32, name: &str) -> Result<Build> {
    fs::create_dir(dir)?;
    let mut main = String::new();
    let mut calls = String::new();
    for file in 0..files {
        fs::write(dir.join(format!("part{file}.c")), source(file)?)?;
        writeln!(main, "int part{file}(const char *text);")?;
        writeln!(calls, "    sum += part{file}(argv[0]);")?;
    }
    write!(
        main,
        "int main(int argc, char **argv)\n{{\n    int sum = argc;\n{calls}    return sum & 1;\n}}\n"
    )?;
    fs::write(dir.join("main.c"), main)?;
    fs::write(dir.join("Makefile"), MAKEFILE)?;
    Ok(Build {
        make: Job::new(dir, words(&["make", "-s", "-j2"])),
        clean: Job::new(dir, words(&["make", "-s", "clean"])),
        label: format!("{name} make -j2 of {} C files with gcc", files + 1),
    })
}

const MAKEFILE: &str = "\
CC = gcc
CFLAGS = -O2 -g
OBJECTS = $(patsubst %.c,%.o,$(wildcard *.c))
program: $(OBJECTS)
\t$(CC) -o $@ $^
clean:
\trm -f program $(OBJECTS)
";

/// Enough for gcc to be busy for the time that a file of a real project takes.
fn source(file: u32) -> Result<String> {
    let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\n");
    let mut calls = String::new();
    for function in 0..FUNCTIONS {
        let (a, b) = (file * 31 + function, function * 17 + 3);
        write!(
            text,
            "static int f{function}(const char *text, int n)
{{
    int counts[32] = {{0}}, sum = {a};
    for (int i = 0; i < n; i++) {{
        switch (text[i] & 7) {{
        case 0: counts[i & 31] += {b}; break;
        case 1: sum ^= counts[(i + {a}) & 31]; break;
        case 2: sum += text[i] * {b}; break;
        case 3: sum = sum * 33 + i; break;
        default: counts[sum & 31]++; break;
        }}
    }}
    if (sum == {a})
        printf(\"{file}.{function}: %d\\n\", sum);
    return sum + counts[{function}];
}}

"
        )?;
        writeln!(calls, "    sum += f{function}(copy, n);")?;
    }
    write!(
        text,
        "int part{file}(const char *text)
{{
    int n = (int)strlen(text), sum = 0;
    char *copy = malloc((size_t)n + 1);
    if (!copy)
        return -1;
    memcpy(copy, text, (size_t)n + 1);
{calls}    free(copy);
    return sum;
}}
"
    )?;
    Ok(text)
}
