// The fields of the filter language, tracexec-filter(7), as far as the page knows them. A field's values are an
// array, empty where it is missing; null is not known.

// The members of a path of descriptors and the like are asked for by a key: argv[2], env[CI], fd[0].type.
const KEYS = { argv: 'place', fd: 'number', env: 'name' };

const ELSEWHERE = {
  user: 'the page knows no names of users: use uid',
  group: 'the page knows no names of groups: use gid',
  unit: 'the page knows no units: use cgroup, as in cgroup endswith /nginx.service',
  container: 'the page knows no containers: use cgroup contains',
};

class Facts {
  constructor(trace) {
    this.trace = trace;
    this.baseline = new Map();
    for (const entry of trace.about.env ?? []) {
      const [name, value] = variable(entry);
      if (!this.baseline.has(name)) this.baseline.set(name, value);
    }
  }

  // Whether all of a part of the record came.
  whole(row, part) {
    const faults = this.trace.list(row.record[EXEC.faults]) ?? [];
    return !faults.some((at) => this.trace.string(at).startsWith(`${part}:`));
  }

  text(row, part, name = part) {
    if (!row.record) return null;
    const value = this.trace.string(row.record[EXEC[part]]);
    return value === undefined || !this.whole(row, name) ? null : [value];
  }

  argv(row) {
    if (!row.record || !this.whole(row, 'argv')) return null;
    const argv = this.trace.stringsOf(row.record[EXEC.argv]);
    return argv && !argv.includes(undefined) ? argv : null;
  }

  // What is known of the command line, for a search.
  line(row) {
    if (!row.record) return '';
    const argv = this.trace.stringsOf(row.record[EXEC.argv]) ?? [];
    return `${this.trace.string(row.record[EXEC.filename]) ?? ''} ${argv.join(' ')}`;
  }

  env(row, name) {
    if (!row.record) return null;
    const { trace, baseline } = this;
    const added = trace.stringsOf(row.record[EXEC.added]);
    const removed = trace.stringsOf(row.record[EXEC.removed]);
    if (!added || !removed) return null;
    const own = added.find((entry) => entry?.startsWith(`${name}=`));
    if (own !== undefined) return [own.slice(name.length + 1)];
    if (!this.whole(row, 'env')) return null;
    return baseline.has(name) && !removed.includes(name) ? [baseline.get(name)] : [];
  }

  fds(row, key, type) {
    if (!row.record) return null;
    if (row.kind === 'failed') return [];
    const fds = this.trace.descriptors(row.record[EXEC.fds]);
    if (!fds || !this.whole(row, 'fds')) return null;
    const chosen = key === '*' ? fds : fds.filter((fd) => fd.number === Number(key));
    return chosen.map((fd) => (type ? fd.kind : fd.target));
  }

  interpreter(row) {
    if (!row.record) return null;
    if (row.kind === 'failed') return [];
    const chain = this.trace.stringsOf(row.record[EXEC.interpreters]);
    if (!chain || !this.whole(row, 'interpreters')) return null;
    return chain.length ? this.text(row, 'exe') : [];
  }
}

// An entry of the environment as name and value.
function variable(entry) {
  const at = entry.indexOf('=');
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
}

function number(row, place) {
  if (!row.record) return null;
  const value = row.record[EXEC[place]];
  return value < 0 ? null : [value];
}

// Of each field: what its values are, and how they are found. `optional`: it may stand alone.
const FIELDS = {
  argv: { type: 'text', get: (facts, row) => { const argv = facts.argv(row); return argv && [argv.join(' ')]; } },
  'argv[]': {
    type: 'text', optional: true,
    get: (facts, row, key) => {
      const argv = facts.argv(row);
      if (!argv || key === '*') return argv;
      const value = argv.at(Number(key));
      return value === undefined ? [] : [value];
    },
  },
  argc: { type: 'number', get: (facts, row) => { const argv = facts.argv(row); return argv && [argv.length]; } },
  filename: { type: 'text', get: (facts, row) => facts.text(row, 'filename') },
  basename: {
    type: 'text',
    get: (facts, row) => facts.text(row, 'filename')?.map((path) => path.slice(path.lastIndexOf('/') + 1)) ?? null,
  },
  exe: { type: 'text', get: (facts, row) => (row.kind === 'failed' ? [] : facts.text(row, 'exe')) },
  interpreter: { type: 'text', optional: true, get: (facts, row) => facts.interpreter(row) },
  comm: { type: 'text', get: (facts, row) => facts.text(row, 'comm') },
  'prev.comm': { type: 'text', get: (facts, row) => facts.text(row, 'prevComm', 'prev_comm') },
  cwd: { type: 'text', get: (facts, row) => facts.text(row, 'cwd') },
  cgroup: { type: 'text', optional: true, get: (facts, row) => facts.text(row, 'cgroup') },
  'env[]': { type: 'text', optional: true, get: (facts, row, key) => facts.env(row, key) },
  'fd[]': { type: 'text', optional: true, get: (facts, row, key) => facts.fds(row, key, false) },
  'fd[].type': { type: 'text', optional: true, get: (facts, row, key) => facts.fds(row, key, true) },
  uid: { type: 'number', get: (facts, row) => number(row, 'uid') },
  gid: { type: 'number', get: (facts, row) => number(row, 'gid') },
  pid: { type: 'number', get: (facts, row) => [row.process.pid] },
  ppid: { type: 'number', get: (facts, row) => number(row, 'ppid') },
  depth: { type: 'number', get: (facts, row) => number(row, 'depth') },
  'ns.pid': { type: 'number', get: (facts, row) => number(row, 'pidNamespace') },
  'ns.mnt': { type: 'number', get: (facts, row) => number(row, 'mountNamespace') },
  errno: { type: 'errno', optional: true, get: (facts, row) => (row.errno ? [[row.errno, -row.record[EXEC.result]]] : []) },
  status: { type: 'number', optional: true, get: (facts, row) => exitStatus(row) },
  signal: {
    type: 'signal', optional: true,
    get: (facts, row) => (row.last && row.process.signal ? [[row.process.signal, row.process.status & 0x7f]] : []),
  },
  age: { type: 'time', get: (facts, row) => (row.kind === 'failed' ? [] : [row.duration]) },
};

function exitStatus(row) {
  const { status, signal } = row.process;
  return row.last && status !== undefined && !signal ? [(status >> 8) & 255] : [];
}

// The programs of the processes above, the parent's first.
function* ancestors(row) {
  let { process } = row;
  for (let above = row.parent; above; above = above.parent) {
    if (above.process !== process && above.kind === 'exec') {
      process = above.process;
      yield above;
    }
  }
}
