//! What is found out about a match before its debugger's place is made, and which debugger that calls for.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::Session;
use crate::debug::config::Action;
use crate::debug::hits::Hit;
use crate::launcher::command::{self, Findings, Recipe};
use crate::launcher::image::Image;
use crate::launcher::inside::Inside;
use crate::linux::children;
use crate::linux::identity::Identity;
use crate::linux::sys;
use crate::machine::procfs;
use crate::text::report::Report;

/// How long a debugger may take to say that it works.
const PATIENCE: Duration = Duration::from_secs(5);

impl Session {
    /// Looks at the process, and decides on its debugger.
    pub(super) fn find_out(&mut self, index: usize) -> Result<(), String> {
        let hit = &mut self.hits[index];
        let (pid, program) = (hit.pid, &hit.program);
        let Action::Debugger(choice, _) = &self.config.action else { return Ok(()) };
        let image = Image::of(procfs::living(pid), &program.filename);
        let inside = Inside::of(pid, &program.exe, &program.cwd);
        let (checked, report) = (&mut self.checked, self.report);
        let identity = self.config.identity.as_ref();
        let recipe = choice.index_for(&image, |index, recipe| {
            *checked.entry(index).or_insert_with(|| works(recipe, identity, report))
        });
        let listen = choice.get(recipe).listen;
        let mut port = 0;
        if choice.get(recipe).debugger.listens() {
            port = listen.free_port().map_err(|error| {
                let port = listen.port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("cannot listen on {}{port}: {error}", listen.shown())
            })?;
        }
        if let Some(inside) = inside.described(pid) {
            self.report.detail(format!("{pid}, as it sees itself: {inside}"));
        }
        hit.findings = Findings { recipe, port, image, inside };
        Ok(())
    }

    /// The debugger of a hit, if it is to have one.
    pub(super) fn recipe_of(&self, hit: &Hit) -> Option<&Recipe> {
        match &self.config.action {
            Action::Hold(recipe) => recipe.as_deref(),
            Action::Debugger(choice, _) => Some(choice.get(hit.findings.recipe)),
            Action::Editor(editor) => editor.by_hand.as_ref(),
            Action::List | Action::LaunchJson(_) | Action::Wrap(_) | Action::Nothing => None,
        }
    }
}

/// Whether a debugger does more than be there, for the user as whom it is to run: a name of rustup's may
/// have no toolchain behind it.
fn works(recipe: &Recipe, identity: Option<&Identity>, report: Report) -> bool {
    let words = recipe.check();
    let Some((program, arguments)) = words.split_first() else { return true };
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(identity) = identity {
        identity.take(&mut command);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sys::given_file_limit(&mut command);
    sys::unblocked(&mut command);
    sys::own_session(&mut command, sys::Controlling::Nothing);
    let why = match command.spawn().and_then(|mut child| children::wait(&mut child, PATIENCE)) {
        Ok(status) if status.success() => return true,
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let name = crate::text::escape::text(recipe.debugger.name.as_bytes());
    report.detail(format!(
        "{name} is there, but does not work: `{}` fails: {why}",
        command::line(&words)
    ));
    false
}
