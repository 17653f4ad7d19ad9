// From events to processes, and to the rows of the tree.

// A row: a program that a process executed, an exec that failed, or a process that executed nothing for a
// while (a shell's subshell).
class Row {
  constructor(kind, process, parent, start, record) {
    this.kind = kind; // exec, failed, fork
    this.process = process;
    this.parent = parent;
    this.start = start;
    this.end = start;
    this.record = record;
    this.children = [];
    this.depth = 0;
    this.index = -1;
    this.next = null; // the program that its process became
    this.last = false; // whether it is what its process ended as
    this.name = '';
    this.failure = ''; // why it counts as failed, in words
    this.lookup = false; // a step of a search through PATH that went on
    this.busy = null; // when its children ran: beginnings and ends in turns
    this.own = 0; // how long none of them did
  }

  get duration() {
    return this.end - this.start;
  }
}

// With what a search through PATH goes on.
const NOT_THERE = ['ENOENT', 'ENOTDIR', 'EACCES'];

class Process {
  constructor(pid, parent, origin, start) {
    this.pid = pid;
    this.parent = parent;
    this.origin = origin; // the row whose program made it
    this.start = start;
    this.end = undefined;
    this.status = undefined;
    this.signal = undefined;
    this.usage = undefined;
    this.row = null; // its program now
    this.fork = null; // the row for the time before its first exec
    this.attempts = []; // execs that failed since the last that did not
  }

  // The row that what it does now belongs to.
  get acting() {
    return this.row ?? this.fork ?? this.origin;
  }
}

class Builder {
  constructor(trace) {
    this.trace = trace;
    this.running = new Map();
    this.processes = [];
    this.rows = [];
    this.byId = new Map();
    this.latest = 0;
  }

  build() {
    // Events of different processors may come out of order.
    const { events } = this.trace;
    const at = (event) => (event[0] === 1 ? event[EXEC.time] : event[0] === 2 ? event[3] : event[2]);
    const times = Float64Array.from(events, at);
    const order = Uint32Array.from(events.keys()).sort((a, b) => times[a] - times[b] || a - b);
    for (const i of order) {
      const event = events[i];
      this.latest = times[i];
      if (event[0] === 1) this.exec(event);
      else if (event[0] === 2) this.begun(event);
      else if (event[0] === 3) this.ended(event);
    }
    // What still runs does so to the end.
    if (this.running.size) this.latest = Math.max(this.latest, this.trace.end?.time ?? 0);
    // With a filter, the beginnings of processes are told of which nothing is told further.
    this.processes = this.processes.filter(
      ({ row, fork, attempts, end }) => row || fork || attempts.length || end !== undefined);
    for (const process of this.processes) this.close(process);
    this.trace.events = [];
    this.fromFirst();
  }

  // Counts the time from when the first of them began.
  fromFirst() {
    const first = this.processes.reduce((least, { start }) => Math.min(least, start), Infinity);
    if (!this.processes.length) return;
    for (const process of this.processes) {
      process.start -= first;
      if (process.end !== undefined) process.end -= first;
    }
    for (const row of this.rows) {
      row.start -= first;
      row.end -= first;
    }
    this.latest -= first;
    this.trace.about.wall += first / 1000;
  }

  process(pid, parent, origin, start) {
    const process = new Process(pid, parent, origin, start);
    this.running.set(pid, process);
    this.processes.push(process);
    return process;
  }

  begun([, pid, parentPid, time]) {
    const parent = this.running.get(parentPid);
    if (parent && !parent.row && !parent.fork) this.forkRow(parent);
    this.process(pid, parent, parent?.acting ?? null, time);
  }

  // A row of its own for a process that executed nothing itself.
  forkRow(process) {
    process.fork = this.add(new Row('fork', process, process.origin, process.start, null));
    process.fork.name = process.origin?.name ?? '';
  }

  add(row) {
    this.rows.push(row);
    return row;
  }

  exec(record) {
    const { trace } = this;
    const time = record[EXEC.time];
    const pid = record[EXEC.pid];
    let process = this.running.get(pid);
    if (!process) {
      // Its beginning was not told: it was there before, or a filter has left it out.
      const parent = this.running.get(record[EXEC.ppid]);
      const origin = this.byId.get(trace.string(record[EXEC.parent])) ?? parent?.acting ?? null;
      const began = Math.max(record[EXEC.began], origin?.start ?? 0);
      process = this.process(pid, parent, origin, Math.min(began, time));
    }
    const failed = record[EXEC.result] !== 0;
    const row = this.add(new Row(failed ? 'failed' : 'exec', process, process.acting, time, record));
    row.name = this.name(record);
    if (failed) {
      const [errno, ...words] = trace.string(record[EXEC.error]).split(' ');
      row.errno = errno;
      row.failure = words.join(' ');
      this.searched(process, row);
      process.attempts.push(row);
      return;
    }
    this.searched(process, row);
    process.attempts = [];
    for (const before of [process.row, process.fork]) if (before && !before.next) {
      before.end = time;
      before.next = row;
    }
    process.row = row;
    this.byId.set(trace.string(record[EXEC.id]), row);
  }

  // What failed before, where it was a step of a search through PATH that has now gone on.
  searched(process, { name }) {
    const attempt = process.attempts.at(-1);
    if (attempt?.name === name && NOT_THERE.includes(attempt.errno)) attempt.lookup = true;
  }

  name(record) {
    const { trace } = this;
    const file = trace.string(record[EXEC.filename]) ?? trace.string(record[EXEC.comm]) ?? '?';
    return file.slice(file.lastIndexOf('/') + 1) || file;
  }

  ended([, pid, time, status, signal, user, system, memory]) {
    const process = this.running.get(pid);
    if (!process) return;
    process.end = time;
    process.status = status;
    process.signal = this.trace.string(signal);
    if (user >= 0) process.usage = { user, system, memory };
    this.running.delete(pid);
  }

  close(process) {
    if (!process.row && !process.fork) {
      this.forkRow(process);
      for (const attempt of process.attempts) attempt.parent = process.fork;
    }
    const row = process.row ?? process.fork;
    row.end = process.end ?? this.latest;
    row.last = true;
    if (process.signal) row.failure = `killed by ${process.signal}`;
    else if (process.status) row.failure = `exit status ${process.status >> 8}`;
  }
}

// Puts the rows in the order of the tree, and adds up what their children did.
function layOut(found) {
  const rows = [];
  for (const row of found) row.parent?.children.push(row);
  const begin = (row) => (row.parent?.process === row.process ? row.start : row.process.start);
  const byTime = (a, b) => begin(a) - begin(b) || a.start - b.start;
  const stack = found.filter((row) => !row.parent).sort(byTime).reverse();
  while (stack.length) {
    const row = stack.pop();
    row.depth = row.parent ? row.parent.depth + 1 : 0;
    row.index = rows.length;
    rows.push(row);
    row.children.sort(byTime);
    addUp(row);
    for (let i = row.children.length - 1; i >= 0; i--) stack.push(row.children[i]);
  }
  // The index behind the last of its descendants.
  for (let i = rows.length - 1; i >= 0; i--) {
    const last = rows[i].children.at(-1);
    rows[i].after = last ? last.after : i + 1;
  }
  return rows;
}

function addUp(row) {
  const spans = row.children
    .filter((child) => child.kind !== 'failed' && child.process !== row.process)
    .map((child) => [child.process.start, child.process.end ?? Infinity])
    .sort((a, b) => a[0] - b[0]);
  const busy = [];
  let covered = 0;
  for (const span of spans) {
    const from = Math.max(span[0], row.start);
    const to = Math.min(span[1], row.end);
    if (to <= from) continue;
    const end = busy.length ? busy[busy.length - 1] : -Infinity;
    if (from > end) {
      busy.push(from, to);
      covered += to - from;
    } else if (to > end) {
      busy[busy.length - 1] = to;
      covered += to - end;
    }
  }
  row.busy = Float64Array.from(busy);
  row.own = Math.max(0, row.duration - covered);
}
