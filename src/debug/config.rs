//! What the command line means: the filter compiled, templates resolved, programs found. What can be
//! known wrong beforehand is an error here, before COMMAND starts.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use nix::unistd::Uid;

use crate::cli::settings::{built_in, typed};
use crate::cli::{Backend, Debug, Global, OnFailure, WhenBusy};
use crate::debug::journal;
use crate::debug::save::Saves;
use crate::event::moment::Moments;
use crate::filter::{Filter, FilterError, SystemNames};
use crate::launcher::catalog::{self, Catalog};
use crate::launcher::choice::Choice;
use crate::launcher::command::{Break, Given, Recipe};
use crate::launcher::editor::{self, Editor};
use crate::launcher::place::Place;
use crate::launcher::template::{Debugger, Piece};
use crate::linux::identity::Identity;
use crate::linux::sys::Pid;
use crate::machine::elevate::Elevated;
use crate::machine::listen::Listen;
use crate::source::wrapped::Wrapper;
use crate::text::escape;
use crate::text::report::Trouble;

/// What is done with a match.
#[derive(Debug)]
pub enum Action {
    /// Nothing; it is printed.
    List,
    /// It stays stopped; the recipe says what to type.
    Hold(Option<Box<Recipe>>),
    /// A debugger is started for it.
    Debugger(Box<Choice>, Box<Place>),
    /// It stays stopped until an editor attaches.
    Editor(Box<Editor>),
    /// It runs on; a configuration that runs it again is written.
    LaunchJson(Box<Editor>),
    /// It runs under another program.
    Wrap(Box<Wrapper>),
    /// It runs on, once something of it has been saved.
    Nothing,
}

/// A session to be.
#[derive(Debug)]
pub struct Session {
    pub filter: Arc<Filter>,
    pub moments: Moments,
    pub backend: Backend,
    /// Every exec of the machine is watched.
    pub system: bool,
    /// Processes that run already, and are followed.
    pub pids: Vec<Pid>,
    pub action: Action,
    /// The editor that is told of a debugger which listens.
    pub remote: Option<Box<Editor>>,
    pub skip: u64,
    pub max_hits: Option<u64>,
    /// How many hits may be open at a time.
    pub sessions: Option<u64>,
    pub when_busy: WhenBusy,
    pub on_failure: OnFailure,
    pub attach_timeout: Option<Duration>,
    /// Where each stage of each hit is told as JSON.
    pub hits_json: Option<File>,
    /// What is kept of each hit.
    pub saves: Option<Saves>,
    pub command: Vec<OsString>,
    pub identity: Option<Identity>,
}

const ATTACH_TIMEOUT: Duration = Duration::from_secs(30);

/// The user that `-u` names.
pub fn identity(global: &Global) -> Result<Option<Identity>, Trouble> {
    let Some(name) = &global.user else {
        return global.elevated.as_ref().map(Elevated::identity).transpose();
    };
    let shown = escape::word(name.as_bytes());
    let found = Identity::of(name).map_err(|errno| {
        Trouble::new(format!("-u {shown}: cannot look the user up: {}", errno.desc()))
    })?;
    let identity =
        found.ok_or_else(|| Trouble::new(format!("-u {shown}: there is no such user")))?;
    if !Uid::effective().is_root() && !identity.is_ours() {
        return Err(Trouble::new(format!(
            "-u {shown}: only root can run a command as another user"
        ))
        .hint("run it by sudo"));
    }
    Ok((!identity.is_ours()).then_some(identity))
}

/// What a user is told of an expression that could not be understood.
pub fn misunderstood(error: FilterError) -> Trouble {
    let elsewhere = "tracexec-filter(7) describes the language";
    let hint = error.hint().map_or(elsewhere.into(), |hint| format!("{hint}; {elsewhere}"));
    Trouble::new(format!("-m: {}", error.picture())).hint(hint)
}

impl Session {
    /// `matches` tells in which order -x and --ex were given.
    pub fn new(debug: Debug, global: &Global, matches: &ArgMatches) -> Result<Session, Trouble> {
        if debug.matches.is_empty() && debug.on.exec {
            return Err(Trouble::new("no filter: -m says which execs to stop").hint(
                "an example: -m 'basename=cc1plus'; --list -m 'argc>0' shows every exec, to choose from",
            ));
        }
        let expressions: Vec<&[u8]> = debug.matches.iter().map(|m| m.as_bytes()).collect();
        let names = Arc::new(SystemNames);
        let filter = Filter::of_moments(&expressions, names, debug.on).map_err(misunderstood)?;
        moments(&debug, matches)?;
        let mut remote = None;
        let action = if debug.list {
            Action::List
        } else if debug.hold {
            Action::Hold(by_hand()?.map(Box::new))
        } else if let Some(wrapper) = &debug.wrap {
            Action::Wrap(Box::new(Wrapper::parse(wrapper)?))
        } else if !debug.save.is_empty() && !asks_for_debugger(matches) {
            Action::Nothing
        } else if debug.launch_json {
            Action::LaunchJson(Box::new(editor(&debug, matches)?))
        } else if debug.place == editor::VSCODE {
            remote = server(&debug, matches)?;
            match remote {
                Some(_) => debugger(&debug, matches)?,
                None => Action::Editor(Box::new(editor(&debug, matches)?)),
            }
        } else {
            debugger(&debug, matches)?
        };
        let writes =
            matches!(action, Action::Editor(_) | Action::LaunchJson(_)) || remote.is_some();
        if debug.workspace.is_some() && !writes {
            return Err(Trouble::new(
                "--workspace says where launch.json is, which nothing writes",
            )
            .hint("add --in vscode or --launch-json"));
        }
        let hold = matches!(action, Action::Hold(_) | Action::LaunchJson(_) | Action::Wrap(_));
        let by_hand = hold || matches!(action, Action::Editor(_));
        system(&debug)?;
        let exclusive = match &action {
            Action::Debugger(_, place) => place.terminal.shares_terminal,
            _ => false,
        };
        // A default of the user's own does not know where the debugger runs.
        let sessions = debug.sessions.filter(|_| !exclusive || typed(matches, "sessions"));
        if exclusive && sessions.is_some_and(|sessions| sessions > 1) {
            return Err(Trouble::new(
                "--sessions: one terminal has room for one debugger at a time",
            )
            .hint("choose --in tmux, or leave --sessions away"));
        }
        let saves = debug.to.as_deref().map(|to| {
            let debugger = typed(matches, "debugger").then_some(debug.debugger.as_str());
            Saves::new(&debug.save, to, debugger)
        });
        let saves = saves.transpose()?;
        let hits_json = debug.hits_json.as_deref().map(journal::open).transpose()?;
        // Nor does it know that somebody attaches by hand.
        let attach_timeout =
            debug.attach_timeout.filter(|_| !by_hand || typed(matches, "attach_timeout"));
        Ok(Session {
            filter: Arc::new(filter),
            moments: debug.on,
            backend: debug.backend,
            system: debug.system,
            pids: debug.pids,
            remote,
            skip: debug.skip,
            max_hits: if debug.once { Some(1) } else { debug.max_hits },
            sessions: sessions.or(match action {
                Action::Nothing => {
                    std::thread::available_parallelism().ok().map(|n| n.get() as u64)
                }
                _ if hold => None,
                _ => Some(1),
            }),
            when_busy: debug.when_busy.unwrap_or(match debug.system {
                // To stop what others run until somebody has time for it is no small thing.
                true => WhenBusy::Skip,
                false => WhenBusy::Wait,
            }),
            on_failure: debug.on_launch_failure,
            attach_timeout: attach_timeout.or((!by_hand).then_some(ATTACH_TIMEOUT)),
            hits_json,
            saves,
            action,
            command: debug.command,
            identity: identity(global)?,
        })
    }
}

/// Whether something was typed that only a debugger needs.
fn asks_for_debugger(matches: &ArgMatches) -> bool {
    ["debugger", "place", "break_at", "files", "commands"].iter().any(|id| typed(matches, id))
}

/// What --on wants of the other options.
fn moments(debug: &Debug, matches: &ArgMatches) -> Result<(), Trouble> {
    let on = debug.on;
    if !on.exec && typed(matches, "break_at") {
        return Err(Trouble::new(format!(
            "--break: with --on {on} a match stays where it happened"
        ))
        .hint("leave --break away, or add exec to --on"));
    }
    if !on.exec && debug.wrap.is_some() {
        return Err(Trouble::new(format!(
            "--wrap: a program can be put under another one at its exec only, and --on {on} holds it later"
        ))
        .hint("say --on exec, or leave --on away; without --wrap it is handed to a debugger"));
    }
    Ok(())
}

/// What --system wants.
fn system(debug: &Debug) -> Result<(), Trouble> {
    if !debug.system {
        return Ok(());
    }
    if debug.backend == Backend::Ptrace {
        return Err(Trouble::new("--system needs eBPF: ptrace sees COMMAND's tree only")
            .hint("leave --backend ptrace away, and run it as root"));
    }
    if !(debug.once || debug.max_hits.is_some() || debug.all || debug.list) {
        return Err(Trouble::new(
            "--system: how many matches of the whole machine are to be stopped?",
        )
        .hint("say --once, --max-hits N, or --all"));
    }
    Ok(())
}

fn stop_at(debug: &Debug) -> Break {
    match debug.break_at.as_deref() {
        None => Break::Entry,
        Some("main") => Break::Main,
        Some(location) => Break::Location(location.to_string()),
    }
}

/// What --debugger says, if it says anything.
fn chosen<'a>(debug: &'a Debug, matches: &ArgMatches) -> Option<&'a str> {
    (!built_in(matches, "debugger")).then_some(debug.debugger.as_str())
}

/// The editor that connects to what --debugger starts, if that is a server.
fn server(debug: &Debug, matches: &ArgMatches) -> Result<Option<Box<Editor>>, Trouble> {
    let Some(name) = chosen(debug, matches) else { return Ok(None) };
    let folder = debug.workspace.as_deref();
    let editor = Editor::of_server(name, folder, stop_at(debug), given(debug, matches))?;
    Ok(editor.map(Box::new))
}

/// An editor, by its launch.json.
fn editor(debug: &Debug, matches: &ArgMatches) -> Result<Editor, Trouble> {
    let given = given(debug, matches);
    Editor::new(
        chosen(debug, matches),
        debug.workspace.as_deref(),
        stop_at(debug),
        given,
        by_hand()?,
    )
}

fn debugger(debug: &Debug, matches: &ArgMatches) -> Result<Action, Trouble> {
    let catalog = Catalog::load()?;
    let (stop_at, given) = (stop_at(debug), given(debug, matches));
    let chosen = chosen(debug, matches);
    if debug.place == editor::NEOVIM
        && let Some(editor) = Editor::nvim_dap(chosen, &stop_at, &given, by_hand()?)?
    {
        return Ok(Action::Editor(Box::new(editor)));
    }
    let (chosen, mut place) = editor::in_emacs(chosen, &debug.place);
    let name = chosen.unwrap_or(&debug.debugger);
    let (stop_at, given) = match place {
        // A server; what is wished for stands in launch.json.
        editor::VSCODE => {
            place = "background";
            (Break::Entry, Vec::new())
        }
        _ => (stop_at, given),
    };
    let mut asked = Asked { stop_at, given, listen: debug.listen, remember: debug.remember };
    let choice = if name == "auto" {
        automatic(&catalog, asked)?
    } else {
        let template = if name.contains(char::is_whitespace) || name.contains("{{") {
            Debugger::ad_hoc(name)?
        } else {
            catalog.debugger(name).cloned().ok_or_else(|| unknown_debugger(name, &catalog))?
        };
        asked.stop_at = in_words_of(&template, asked.stop_at, matches);
        Choice::of(recipe(template, asked)?)
    };
    can_listen(debug)?;
    let place = Place::choose(place, choice.is_interactive(), &catalog)?;
    Ok(Action::Debugger(Box::new(choice), Box::new(place)))
}

/// Whether a debugger could listen where --listen says.
fn can_listen(debug: &Debug) -> Result<(), Trouble> {
    let Some(listen) = debug.listen else { return Ok(()) };
    if listen.port.is_some() && debug.sessions.is_some_and(|sessions| sessions > 1) {
        return Err(Trouble::new("--listen: one port is for one debugger at a time").hint(
            "leave the port away, so that each gets one of its own; or leave --sessions away",
        ));
    }
    let shown = listen.shown();
    listen.free_port().map(drop).map_err(|error| {
        let port = listen.port.map(|port| format!(":{port}")).unwrap_or_default();
        Trouble::new(format!("--listen: nothing can listen on {shown}{port}: {error}")).hint(
            "choose an address of this machine (`ip address` lists them) and a port that is free",
        )
    })
}

/// What the debugger is to do.
#[derive(Clone)]
struct Asked {
    stop_at: Break,
    given: Vec<Given>,
    listen: Option<Listen>,
    remember: bool,
}

/// Those that are installed and can do what is asked; each match gets the best of them.
fn automatic(catalog: &Catalog, asked: Asked) -> Result<Choice, Trouble> {
    let mut first_trouble = None;
    let mut recipes = Vec::new();
    let mut templates: Vec<&Debugger> = catalog.debuggers.iter().map(|e| &e.template).collect();
    templates.retain(|template| template.auto.is_some());
    templates.sort_by_key(|template| template.auto.as_ref().map(|auto| auto.rank));
    for template in templates {
        match recipe(template.clone(), asked.clone()) {
            Ok(recipe) => recipes.push(recipe),
            Err(trouble) if template.serves_all() => drop(first_trouble.get_or_insert(trouble)),
            Err(_) => {}
        }
    }
    Choice::among(recipes).ok_or_else(|| {
        first_trouble.unwrap_or_else(|| {
            Trouble::new("--debugger auto: there is no debugger for all programs")
                .hint("install gdb or lldb; `tracexec doctor` tells what is there")
        })
    })
}

/// A default of the user's own for --break does not count where another debugger was typed that has no
/// words for it.
fn in_words_of(template: &Debugger, stop_at: Break, matches: &ArgMatches) -> Break {
    let has_words = match stop_at {
        Break::Entry => true,
        Break::Main => template.at_main.is_some(),
        Break::Location(_) => template.at_location.is_some(),
    };
    let meant_for_another = typed(matches, "debugger") && !typed(matches, "break_at");
    if meant_for_another && !has_words { Break::Entry } else { stop_at }
}

fn unknown_debugger(name: &str, catalog: &Catalog) -> Trouble {
    let names: Vec<&str> =
        catalog.debuggers.iter().map(|entry| entry.template.name.as_str()).collect();
    Trouble::new(format!("--debugger {name}: there is no such template")).hint(format!(
        "there are {}; a command of your own says {{{{pid}}}}, as in --debugger '{name} -p {{{{pid}}}}'",
        names.join(", ")
    ))
}

/// -x and --ex in the order in which they were given.
fn given(debug: &Debug, matches: &ArgMatches) -> Vec<Given> {
    let at = |id: &str| matches.indices_of(id).into_iter().flatten().collect::<Vec<_>>();
    let files = debug.files.iter().cloned().map(Given::File).zip(at("files"));
    let commands = debug.commands.iter().cloned().map(Given::Command).zip(at("commands"));
    let mut all: Vec<(Given, usize)> = files.chain(commands).collect();
    all.sort_by_key(|(_, at)| *at);
    all.into_iter().map(|(given, _)| given).collect()
}

/// What was asked for and a template has no words for is an error.
fn supports(template: &Debugger, asked: &Asked) -> Result<(), Trouble> {
    let Asked { stop_at, given, listen, remember } = asked;
    let listen = listen.is_some();
    let lacks = |option: &str| {
        Trouble::new(format!("the debugger {} has no words for {option}", template.name))
            .hint("`tracexec templates show gdb` shows a template that has them")
    };
    // Of those that auto takes, some can and others cannot.
    if *remember && template.remember.is_none() && template.auto.is_none() {
        return Err(lacks("--remember"));
    }
    if listen && !template.listens() {
        return Err(Trouble::new(format!(
            "--listen: the debugger {} does not listen on a port",
            template.name
        ))
        .hint("choose --debugger gdbserver or lldb-server"));
    }
    match stop_at {
        Break::Main if template.at_main.is_none() => return Err(lacks("--break main")),
        Break::Location(_) if template.at_location.is_none() => {
            return Err(lacks("--break LOCATION"));
        }
        // A line break would be the next command of the debugger's own language.
        Break::Location(text) if text.is_empty() || text.contains(char::is_control) => {
            return Err(Trouble::new("--break: a location is one line of plain text"));
        }
        _ => {}
    }
    for given in given {
        match given {
            Given::File(file) if template.given_file.is_none() => return Err(lacks("-x")),
            Given::File(file) if !std::path::Path::new(file).is_file() => {
                return Err(Trouble::new(format!(
                    "-x: there is no file {}",
                    crate::text::escape::word(file.as_bytes())
                )));
            }
            Given::Command(_) if template.given_command.is_none() => return Err(lacks("--ex")),
            Given::Command(command) if command.as_bytes().contains(&b'\n') => {
                return Err(Trouble::new("--ex: a command is one line")
                    .hint("give several --ex, or a file with -x"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Finds the template's programs.
fn recipe(mut debugger: Debugger, asked: Asked) -> Result<Recipe, Trouble> {
    supports(&debugger, &asked)?;
    let catalog::Programs { program, first, missing } = catalog::Programs::of(&debugger);
    // The place where it runs may have another PATH.
    if let Some(path) = first.as_deref().and_then(|path| path.to_str()) {
        debugger.command[0] = vec![Piece::Text(path.to_string())];
    }
    if let Some(missing) = missing.first() {
        return Err(Trouble::new(format!(
            "--debugger {}: the program {} is not installed",
            debugger.name,
            crate::text::escape::word(missing.as_bytes())
        ))
        .hint("install it, or choose another one: `tracexec templates` lists what is there"));
    }
    let Asked { stop_at, given, listen, remember } = asked;
    let listen = listen.unwrap_or_default();
    Ok(Recipe { debugger, program, stop_at, given, listen, remember })
}

/// What to type at a process that is held: the line of a debugger that is installed.
fn by_hand() -> Result<Option<Recipe>, Trouble> {
    let catalog = Catalog::load()?;
    let installed = |name: &str| {
        let template = catalog.debugger(name)?;
        let (program, missing) = catalog::look_up(&template.programs, &template.needs);
        missing.is_empty().then(|| Recipe {
            debugger: template.clone(),
            program,
            stop_at: Break::Entry,
            given: Vec::new(),
            listen: Listen::default(),
            remember: false,
        })
    };
    Ok(["gdb", "lldb"].into_iter().find_map(installed))
}

impl Session {
    /// Whether anything that follows a hit says in which directory the program was executed. To know that
    /// of every program which may be held later is dear: it is its first file in /proc.
    pub fn tells_directory(&self) -> bool {
        let tells = |recipe: &Recipe| recipe.debugger.tells_directory();
        let action = match &self.action {
            Action::Hold(recipe) => recipe.as_deref().is_some_and(tells),
            Action::Debugger(choice, _) => choice.iter().any(tells),
            Action::Editor(_) | Action::LaunchJson(_) => true,
            Action::List | Action::Wrap(_) | Action::Nothing => false,
        };
        action || self.hits_json.is_some() || self.saves.is_some()
    }
}

/// Changes to the directory that -C names.
pub fn change_directory(directory: Option<&PathBuf>) -> Result<(), Trouble> {
    let Some(directory) = directory else { return Ok(()) };
    std::env::set_current_dir(directory)
        .map_err(|error| Trouble::new(format!("-C {}: {error}", escape::path(directory))))
}
