//! A line of JSON for each event, as it happens. Memory does not grow with their number.

use std::collections::HashMap;
use std::io::{self, Write};

use super::from::Form;
use super::{EnvForm, FORMAT, VERSION};
use crate::event::TraceEvent;
use crate::text::json;
use crate::trace::sinks::json::model::About;
use crate::trace::sinks::json::model::Header;
use crate::trace::sinks::json::model::Line;
use crate::trace::{self, End, Sink};

/// How many bytes are written at a time where one event follows another.
const BLOCK: usize = 64 * 1024;

/// Writes lines.
pub struct Lines<W> {
    out: W,
    env: EnvForm,
    form: Option<Form>,
    /// By pid: when the living processes executed their programs.
    executed: HashMap<u32, u64>,
    block: Vec<u8>,
    /// How many of the events are in it.
    waiting: u64,
}

impl<W: Write> Lines<W> {
    pub fn new(out: W, env: EnvForm) -> Lines<W> {
        Lines { out, env, form: None, executed: HashMap::new(), block: Vec::new(), waiting: 0 }
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.block.extend(json::line(line)?);
        if self.block.len() < BLOCK { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> io::Result<()> {
        self.out.write_all(&self.block)?;
        self.block.clear();
        self.waiting = 0;
        self.out.flush()
    }

    fn tell(&mut self, form: &Form, event: &TraceEvent) -> io::Result<()> {
        match event {
            TraceEvent::Begun(begun) => self.line(&Line::Begun(form.begun(begun))),
            TraceEvent::Exec(execution) => {
                let record = &execution.record;
                if record.result == 0 {
                    self.executed.insert(record.pid, record.time);
                }
                self.line(&Line::Exec(Box::new(form.exec(execution))))
            }
            TraceEvent::Ended(ended) => {
                let executed = self.executed.remove(&ended.pid).filter(|_| ended.exec.is_some());
                self.line(&Line::Ended(form.ended(ended, executed)))
            }
        }
    }
}

impl<W: Write> Sink for Lines<W> {
    fn begin(&mut self, about: &trace::About) -> io::Result<()> {
        self.form = Some(Form::new(about, self.env));
        let about = About::from(about);
        self.line(&Line::About(Header { format: FORMAT.into(), version: VERSION, about }))
    }

    fn event(&mut self, event: &TraceEvent) -> io::Result<()> {
        self.waiting += 1;
        let Some(form) = self.form.take() else { return Ok(()) };
        let told = self.tell(&form, event);
        self.form = Some(form);
        told
    }

    fn idle(&mut self) -> io::Result<()> {
        if self.block.is_empty() { Ok(()) } else { self.write() }
    }

    fn finish(&mut self, end: &End) -> io::Result<()> {
        if let Some(form) = &self.form {
            let line = json::line(&Line::End(form.end(end)))?;
            self.block.extend(line);
        }
        self.write()
    }

    fn unwritten(&self) -> u64 {
        self.waiting
    }
}
