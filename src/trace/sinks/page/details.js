// The panel that shows everything that is known of a row.

const CHILDREN_LISTED = 50;
const OPEN_FLAGS = [
  [0o2, 'RDWR'], [0o1, 'WRONLY'], [0o2000, 'APPEND'], [0o4000, 'NONBLOCK'], [0o10000, 'DSYNC'], [0o20000, 'ASYNC'],
  [0o40000, 'DIRECT'], [0o200000, 'DIRECTORY'], [0o400000, 'NOFOLLOW'], [0o1000000, 'NOATIME'], [0o10000000, 'PATH'],
];

class Details {
  constructor(trace, facts, view) {
    this.trace = trace;
    this.facts = facts;
    this.view = view;
    this.panel = byId('details');
    this.show(null);
  }

  show(row) {
    this.panel.scrollTop = 0;
    if (!row) {
      this.panel.replaceChildren(element('p', { class: 'none' }, 'Choose a row to see everything that is known of it.'));
      return;
    }
    const record = row.record;
    this.panel.replaceChildren(
      element('h2', {}, title(row)),
      this.headline(row),
      ...(record ? this.commandLine(record) : []),
      ...this.times(row),
      ...this.process(row),
      ...(record ? this.program(row) : []),
      ...(record ? this.argv(row) : []),
      ...(record ? this.environment(row) : []),
      ...(record ? this.descriptors(row) : []),
      ...this.children(row),
      ...(record ? this.faults(record) : []),
    );
  }

  headline(row) {
    if (row.lookup) return element('p', { class: 'quiet' }, `${row.errno}: ${row.failure}; the search through PATH went on`);
    if (row.kind === 'failed') return element('p', { class: 'bad' }, `exec failed with ${row.errno}: ${row.failure}`);
    if (row.failure) return element('p', { class: 'bad' }, row.failure);
    if (!row.last) return element('p', { class: 'quiet' }, 'became ', this.link(row.next));
    return element('p', { class: 'quiet' }, row.process.status === undefined ? 'its end was not seen' : 'exit status 0');
  }

  link(row) {
    return rowLink(row, this.view, `${title(row)}, ${row.process.pid}`);
  }

  commandLine(record) {
    const line = this.trace.string(record[EXEC.commandLine]);
    if (line === undefined) return [];
    const text = shown(line);
    const pre = element('pre', { id: 'command-line', tabindex: 0 }, text);
    const button = element('button', { id: 'copy', onclick: () => copy(line, pre, button) }, 'Copy');
    const lacking = this.trace.stringsOf(record[EXEC.lacking]) ?? [];
    const about = 'For a shell like the one in which the command was started';
    return [
      element('h3', { title: about }, 'To run it again', button), pre,
      ...lacking.map((words) => element('p', { class: 'quiet' }, shown(words))),
    ];
  }

  argv(row) {
    const argv = this.trace.stringsOf(row.record[EXEC.argv]);
    return [element('h3', {}, 'Arguments'), argv ? listed(argv, 'argv') : notRead()];
  }

  times(row) {
    const usage = row.last ? row.process.usage : undefined;
    return section('Times', [
      ['executed', `${seconds(row.start)}, ${this.clock(row.start)}`],
      ['until', row.kind !== 'failed' ? seconds(row.end) : undefined],
      ['it took', row.kind !== 'failed' ? time(row.duration) : undefined],
      ['own', row.busy.length ? `${time(row.own)} without the time when children ran` : undefined],
      ['process made', seconds(row.process.start)],
      ['processor', usage && `${time(usage.user)} user, ${time(usage.system)} system`],
      ['peak memory', usage && bytes(usage.memory)],
    ]);
  }

  clock(us) {
    const date = new Date(this.trace.about.wall + us / 1000);
    return `${date.toLocaleTimeString('en-GB')}.${String(date.getMilliseconds()).padStart(3, '0')}`;
  }

  program(row) {
    const { record } = row;
    const failed = row.kind === 'failed';
    const text = (place) => this.text(record[EXEC[place]]);
    const interpreters = this.trace.stringsOf(record[EXEC.interpreters]);
    const at = record[EXEC.at];
    const flags = record[EXEC.flags];
    return section('Program', [
      ['file name', text('filename')],
      ['executable', failed ? undefined : text('exe')],
      ['interpreters', interpreters?.length ? interpreters.map(shown).join(' ← ') : undefined],
      ['directory', text('cwd')],
      ['name', failed ? undefined : text('comm')],
      ['name before', text('prevComm')],
      ['system call', flags < 0 ? undefined : at < 0 ? 'execve' : `execveat, descriptor ${at === -100 ? 'AT_FDCWD' : at}, flags 0x${flags.toString(16)}`],
      ['word size', record[EXEC.compat] ? '32 bits' : undefined],
    ]);
  }

  text(at) {
    const value = this.trace.string(at);
    return value === undefined ? notRead() : shown(value) || element('span', { class: 'quiet' }, 'empty');
  }

  process(row) {
    const { process, record } = row;
    const parent = row.parent;
    const known = (place) => (record && record[EXEC[place]] >= 0 ? record[EXEC[place]] : undefined);
    const ids = record && this.trace.list(record[EXEC.ids]);
    return section('Process', [
      ['pid', process.pid],
      ['thread', record && record[EXEC.tid] !== process.pid ? record[EXEC.tid] : undefined],
      [parent?.process === process ? 'was' : 'parent', parent ? this.link(parent) : known('ppid')],
      ['parent pid', known('ppid')],
      ['depth', known('depth')],
      ['users', ids ? identity(ids.slice(0, 4)) : known('uid')],
      ['groups', ids ? identity(ids.slice(4, 8)) : known('gid')],
      ['other groups', ids?.length > 8 ? ids.slice(8).join(', ') : undefined],
      ['cgroup', record && record[EXEC.cgroup] >= 0 ? this.text(record[EXEC.cgroup]) : undefined],
      ['namespaces', known('pidNamespace') && `pid ${known('pidNamespace')}, mnt ${known('mountNamespace') ?? 'not read'}`],
    ]);
  }

  environment(row) {
    const { trace, facts } = this;
    const title = element('h3', {}, 'Environment, against what the command was given');
    const added = trace.stringsOf(row.record[EXEC.added]);
    const removed = trace.stringsOf(row.record[EXEC.removed]) ?? [];
    if (!added) return [title, notRead()];
    const lines = added.map((entry) => {
      if (entry === undefined) return ['?', '[not read]', ''];
      const before = facts.baseline.get(variable(entry)[0]);
      return [before === undefined ? '+' : '~', entry, before];
    });
    lines.push(...removed.map((name) => ['−', name, undefined]));
    const list = element('ol', { id: 'environment', class: 'code' }, ...lines.map(([mark, entry, before]) =>
      element('li', {}, element('span', { class: 'mark' }, mark), element('span', { class: mark === '−' ? 'gone' : '' }, shown(entry),
        mark === '~' ? element('div', { class: 'gone' }, shown(before)) : null))));
    const same = trace.about.env.filter((entry) => {
      const [name] = variable(entry);
      return !removed.includes(name) && !added.some((other) => other?.startsWith(`${name}=`));
    });
    const rest = element('details', {}, element('summary', {}, `${count(same.length, 'variable', 'variables')} as given`),
      listed(same, 'same', false));
    return [title, lines.length ? list : element('p', { class: 'quiet' }, 'No difference.'), rest];
  }

  descriptors(row) {
    const fds = this.trace.descriptors(row.record[EXEC.fds]);
    const title = element('h3', {}, row.kind === 'failed' ? 'Descriptors before it' : 'Descriptors');
    if (!fds) return [title, notRead()];
    return [title, element('ol', { id: 'descriptors', class: 'code' }, ...fds.map((fd) => element('li', {},
      element('span', {}, fd.number),
      element('span', {}, shown(fd.target) || notRead(), element('div', { class: 'quiet' }, describe(fd))))))];
  }

  children(row) {
    const children = row.children.filter((child) => this.view.lookups || !child.lookup);
    if (!children.length) return [];
    const lines = children.slice(0, CHILDREN_LISTED).map((child) => cells('td', [
      this.link(child), element('span', { class: child.failure ? 'bad' : 'quiet' }, outcome(child)),
      child.kind === 'failed' ? '' : time(child.duration),
    ]));
    const more = children.length - lines.length;
    return [
      element('h3', {}, count(children.length, 'child', 'children')),
      element('table', { id: 'children', class: 'lists' }, element('tbody', {}, ...lines)),
      more > 0 ? element('p', { class: 'quiet' }, `and ${more.toLocaleString('en')} more in the tree`) : null,
    ].filter(Boolean);
  }

  faults(record) {
    const faults = this.trace.stringsOf(record[EXEC.faults]);
    if (!faults) return [];
    return [element('h3', {}, 'Not read'), ...faults.map((fault) => element('p', { class: 'bad' }, fault.replace(/^:/, '').replace(':', ': ')))];
  }
}

// A title and names with what they stand for; what is undefined is left out.
function section(title, entries) {
  const known = entries.filter(([, value]) => value !== undefined && value !== null);
  return [
    element('h3', {}, title),
    element('dl', {}, ...known.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)])),
  ];
}

function listed(texts, id, numbered = true) {
  return element('ol', { id, class: 'code' }, ...texts.map((text, at) => element('li', {},
    element('span', {}, numbered ? at : ''),
    text === undefined ? notRead() : element('span', {}, shown(text) || element('span', { class: 'quiet' }, 'empty')))));
}

function notRead() {
  return element('span', { class: 'bad' }, 'not read');
}

function seconds(us) {
  return `${(us / 1e6).toFixed(6)} s`;
}

// The real, effective, saved id and that of the file system, as far as they differ.
function identity(ids) {
  if (ids.every((id) => id === ids[0])) return ids[0];
  return ids.map((id, at) => `${id} ${['real', 'effective', 'saved', 'file system'][at]}`).join(', ');
}

function describe(fd) {
  const flags = OPEN_FLAGS.filter(([bit]) => fd.flags & bit).map(([, name]) => name);
  if (!(fd.flags & 3)) flags.unshift('RDONLY');
  return [
    fd.kind, flags.join(' '), fd.closeOnExec ? 'close on exec' : '', `position ${fd.position}`,
    `inode ${fd.inode}`, fd.fileSystem, `mount ${fd.mount}`, fd.faults ?? '',
  ].filter(Boolean).map(shown).join(', ');
}

async function copy(text, shownAs, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Not every browser lets a page from a file write there; then it is chosen, and copied the old way.
    getSelection().selectAllChildren(shownAs);
    document.execCommand('copy');
  }
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}
