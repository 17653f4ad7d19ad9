//! The debugger types of launch.json that we know, and which one to take.

use std::path::Path;

use serde_json::Value;

/// What debugs, by the `type` of its configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Microsoft's C/C++ extension with gdb.
    Cppdbg,
    /// The same with lldb-mi.
    CppdbgLldb,
    /// The extension CodeLLDB.
    CodeLldb,
    /// LLVM's own adapter.
    LldbDap,
    /// gdb's own adapter, gdb 14 and later.
    GdbDap,
    /// Delve, by the Go extension.
    Go,
}

impl Kind {
    pub const ALL: [Kind; 6] =
        [Kind::Cppdbg, Kind::CppdbgLldb, Kind::CodeLldb, Kind::LldbDap, Kind::GdbDap, Kind::Go];

    /// What --debugger calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cppdbg => "cppdbg",
            Kind::CppdbgLldb => "cppdbg-lldb",
            Kind::CodeLldb => "codelldb",
            Kind::LldbDap => "lldb-dap",
            Kind::GdbDap => "gdb-dap",
            Kind::Go => "go",
        }
    }

    /// Its `type` in launch.json.
    pub fn json_type(self) -> &'static str {
        match self {
            Kind::Cppdbg | Kind::CppdbgLldb => "cppdbg",
            Kind::CodeLldb => "lldb",
            Kind::LldbDap => "lldb-dap",
            Kind::GdbDap => "gdb",
            Kind::Go => "go",
        }
    }

    /// The one that --debugger names; a debugger's own name stands for the type that runs it.
    pub fn named(name: &str) -> Option<Kind> {
        match name {
            "gdb" => Some(Kind::Cppdbg),
            "lldb" => Some(Kind::CodeLldb),
            "dlv" => Some(Kind::Go),
            _ => Kind::ALL.into_iter().find(|kind| kind.name() == name),
        }
    }

    /// That of a configuration.
    fn of(configuration: &Value) -> Option<Kind> {
        match configuration["type"].as_str()? {
            "cppdbg" if configuration["MIMode"] == "lldb" => Some(Kind::CppdbgLldb),
            found => Kind::ALL.into_iter().find(|kind| kind.json_type() == found),
        }
    }

    /// The one that a workspace uses.
    pub fn used(configurations: &[(String, Value)]) -> Option<Kind> {
        configurations.iter().find_map(|(_, configuration)| Kind::of(configuration))
    }

    /// The first whose extension is installed in one of these folders.
    pub fn installed(home: &Path) -> Option<Kind> {
        let folders = [".vscode", ".vscode-server", ".vscode-insiders", ".vscode-server-insiders"]
            .into_iter()
            .chain([".vscode-oss", ".vscodium-server", ".cursor", ".cursor-server"]);
        let mut names: Vec<String> = Vec::new();
        for folder in folders {
            let entries = std::fs::read_dir(home.join(folder).join("extensions"));
            let entries = entries.into_iter().flatten().flatten();
            names.extend(entries.map(|entry| entry.file_name().to_string_lossy().to_lowercase()));
        }
        let has = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        [
            ("ms-vscode.cpptools-", Kind::Cppdbg),
            ("vadimcn.vscode-lldb-", Kind::CodeLldb),
            ("llvm-vs-code-extensions.lldb-dap-", Kind::LldbDap),
            ("golang.go-", Kind::Go),
        ]
        .into_iter()
        .find_map(|(prefix, kind)| has(prefix).then_some(kind))
    }

    /// Those that speak to this server.
    pub fn of_server(name: &str) -> Option<&'static [Kind]> {
        match name {
            "gdbserver" => Some(&[Kind::Cppdbg]),
            "lldb-server" => Some(&[Kind::CodeLldb, Kind::LldbDap]),
            _ => None,
        }
    }

    /// Whether the configuration can say where to stop, and hold commands.
    pub fn takes_commands(self) -> bool {
        matches!(self, Kind::Cppdbg | Kind::CodeLldb | Kind::LldbDap)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_debugger_stands_for_the_type_that_runs_it() {
        assert_eq!(Kind::named("gdb"), Some(Kind::Cppdbg));
        assert_eq!(Kind::named("lldb"), Some(Kind::CodeLldb));
        assert_eq!(Kind::named("strace"), None);
        assert!(Kind::ALL.into_iter().all(|kind| Kind::named(kind.name()) == Some(kind)));
    }

    #[test]
    fn the_first_type_that_we_know_is_the_one_in_use() {
        let entry = |value: Value| ("x".to_string(), value);
        let python = entry(json!({ "type": "debugpy" }));
        assert_eq!(Kind::used(&[python.clone(), entry(json!({ "type": "go" }))]), Some(Kind::Go));
        let mi = json!({ "type": "cppdbg", "MIMode": "lldb" });
        assert_eq!(Kind::used(&[python.clone(), entry(mi)]), Some(Kind::CppdbgLldb));
        assert_eq!(Kind::used(&[python, entry(json!({}))]), None);
    }

    #[test]
    fn what_is_installed_is_found_in_any_editors_folder() {
        let home = tempfile::tempdir().unwrap();
        let install = |path: &str| std::fs::create_dir_all(home.path().join(path)).unwrap();
        assert_eq!(Kind::installed(home.path()), None);
        install(".vscode/extensions/golang.go-0.50.0");
        assert_eq!(Kind::installed(home.path()), Some(Kind::Go));
        install(".vscode-server/extensions/vadimcn.vscode-lldb-1.11.0");
        assert_eq!(Kind::installed(home.path()), Some(Kind::CodeLldb));
    }
}
