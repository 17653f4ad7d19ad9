//! One document of JSON. An exec is written when its program is over, with how that came: its process has
//! ended or executed something else. So no more is kept than the execs of living processes.

use std::collections::HashMap;
use std::io::{self, Write};

use serde::Serialize;

use super::from::Form;
use super::{EnvForm, FORMAT, VERSION};
use crate::event::{Ended, Execution, ParentEvent, TraceEvent};
use crate::text::json;
use crate::trace::sinks::json::model::About;
use crate::trace::sinks::json::model::Line;
use crate::trace::{self, End, Sink};

/// Writes a document.
pub struct Document<W> {
    out: W,
    env: EnvForm,
    pretty: bool,
    form: Option<Form>,
    /// By pid: the programs that are not over.
    running: HashMap<u32, Box<Execution>>,
    /// Whether an event has been written.
    some: bool,
    /// How many it was told of.
    told: u64,
}

impl<W: Write> Document<W> {
    pub fn new(out: W, env: EnvForm, pretty: bool) -> Document<W> {
        Document { out, env, pretty, form: None, running: HashMap::new(), some: false, told: 0 }
    }

    /// A value, each of its lines but the first after so many spaces.
    fn value(&mut self, value: &impl Serialize, indent: usize) -> io::Result<()> {
        if !self.pretty {
            let line = json::line(value)?;
            return self.out.write_all(line.trim_ascii_end());
        }
        let lines = json::pretty(value)?;
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            self.out.write_all(line)?;
            if line.ends_with(b"\n") {
                write!(self.out, "{:indent$}", "")?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, line: &Line) -> io::Result<()> {
        let comma = if std::mem::replace(&mut self.some, true) { "," } else { "" };
        let indent = if self.pretty { 4 } else { 0 };
        write!(self.out, "{comma}\n{:indent$}", "")?;
        self.value(line, indent)
    }

    /// An exec that is over.
    fn over(
        &mut self,
        form: &Form,
        execution: &Execution,
        ended: Option<&Ended>,
        became: Option<u64>,
    ) -> io::Result<()> {
        let mut exec = form.exec(execution);
        exec.exit = Some(ended.map(|ended| form.exit(ended, execution.record.time)));
        exec.became = Some(became);
        self.entry(&Line::Exec(Box::new(exec)))
    }

    fn executed(&mut self, form: &Form, execution: &Execution) -> io::Result<()> {
        let record = &execution.record;
        if record.result != 0 {
            return self.over(form, execution, None, None);
        }
        let before = self.running.insert(record.pid, Box::new(execution.clone()));
        let Some(before) = before else { return Ok(()) };
        // Where its end was not seen, another process has its number now.
        let same = execution.parent == Some(ParentEvent::Becomes(before.record.id));
        self.over(form, &before, None, same.then_some(record.id))
    }

    fn ended(&mut self, form: &Form, ended: &Ended) -> io::Result<()> {
        let Some(last) = self.running.remove(&ended.pid) else {
            return self.entry(&Line::Ended(form.ended(ended, None)));
        };
        if ended.exec == Some(last.record.id) {
            return self.over(form, &last, Some(ended), None);
        }
        self.over(form, &last, None, None)?;
        self.entry(&Line::Ended(form.ended(ended, None)))
    }

    fn tell(&mut self, form: &Form, event: &TraceEvent) -> io::Result<()> {
        match event {
            TraceEvent::Begun(begun) => self.entry(&Line::Begun(form.begun(begun))),
            TraceEvent::Exec(execution) => self.executed(form, execution),
            TraceEvent::Ended(ended) => self.ended(form, ended),
        }
    }

    fn end(&mut self, form: &Form, end: &End) -> io::Result<()> {
        let mut running: Vec<_> = std::mem::take(&mut self.running).into_values().collect();
        running.sort_by_key(|execution| execution.record.id);
        for execution in running {
            self.over(form, &execution, None, None)?;
        }
        write!(self.out, "{}", if self.pretty { "\n  ],\n  \"end\": " } else { "\n],\"end\":" })?;
        self.value(&form.end(end), 2)?;
        writeln!(self.out, "{}", if self.pretty { "\n}" } else { "}" })?;
        self.out.flush()
    }
}

impl<W: Write> Sink for Document<W> {
    fn begin(&mut self, about: &trace::About) -> io::Result<()> {
        self.form = Some(Form::new(about, self.env));
        let about = About::from(about);
        if self.pretty {
            write!(
                self.out,
                "{{\n  \"format\": \"{FORMAT}\",\n  \"version\": {VERSION},\n  \"about\": "
            )?;
            self.value(&about, 2)?;
            write!(self.out, ",\n  \"events\": [")
        } else {
            write!(self.out, "{{\"format\":\"{FORMAT}\",\"version\":{VERSION},\"about\":")?;
            self.value(&about, 0)?;
            write!(self.out, ",\"events\":[")
        }
    }

    fn event(&mut self, event: &TraceEvent) -> io::Result<()> {
        self.told += 1;
        let Some(form) = self.form.take() else { return Ok(()) };
        let told = self.tell(&form, event);
        self.form = Some(form);
        told
    }

    fn finish(&mut self, end: &End) -> io::Result<()> {
        let Some(form) = self.form.take() else { return Ok(()) };
        self.end(&form, end)
    }

    /// Half a document is none.
    fn unwritten(&self) -> u64 {
        self.told
    }
}
