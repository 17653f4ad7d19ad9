// The rows that can be seen, as elements that are used again as others come into sight.

const ARGS_SHOWN = 240;
// No browser can scroll over more pixels than this.
const MOST_PIXELS = 15e6;
const DEEPEST = 24;

class Rows {
  constructor(trace) {
    this.trace = trace;
    this.scroller = byId('scroller');
    this.place = byId('rows');
    this.lines = []; // the elements, each with the row that it shows
    this.shown = []; // the rows that are there to be scrolled over
    this.height = 0;
  }

  // The rows are these from now on.
  set(shown) {
    this.shown = shown;
    this.places = new Map(shown.map((row, at) => [row, at]));
    byId('sizer').style.height = `${Math.max(Math.min(shown.length * ROW, MOST_PIXELS), this.height)}px`;
    this.scroller.setAttribute('aria-rowcount', shown.length);
    for (const line of this.lines) line.row = null;
  }

  fit() {
    this.height = this.scroller.clientHeight;
    byId('stage').style.height = `${this.height}px`;
    byId('lanes').style.height = `${this.height}px`;
    const needed = Math.ceil(this.height / ROW) + 1;
    while (this.lines.length < needed) this.lines.push(new Line(this.place, this.trace));
    this.set(this.shown);
  }

  // How many pixels of rows are above, by where the scroll bar is.
  get top() {
    const all = this.shown.length * ROW;
    if (all <= MOST_PIXELS) return this.scroller.scrollTop;
    return (this.scroller.scrollTop / (MOST_PIXELS - this.height)) * (all - this.height);
  }

  set top(pixels) {
    const all = this.shown.length * ROW;
    this.scroller.scrollTop =
      all <= MOST_PIXELS ? pixels : (pixels / (all - this.height)) * (MOST_PIXELS - this.height);
  }

  // Scrolls as little as needed for the row to be seen.
  reveal(row) {
    const at = this.places.get(row);
    if (at === undefined) return;
    const margin = Math.min(2 * ROW, this.height / 4);
    if (at * ROW < this.top + margin) this.top = at * ROW - margin;
    else if ((at + 1) * ROW > this.top + this.height - margin) this.top = (at + 1) * ROW - this.height + margin;
  }

  // Draws what is in sight, and gives it with the place where it begins.
  draw(view) {
    const { top } = this;
    const first = Math.max(0, Math.floor(top / ROW));
    const offset = first * ROW - top;
    const rows = this.shown.slice(first, first + this.lines.length);
    this.lines.forEach((line, i) => {
      // A line keeps its row as long as that is in sight.
      const at = first + ((i - (first % this.lines.length) + this.lines.length) % this.lines.length);
      line.show(this.shown[at], at, view);
      line.node.style.transform = `translateY(${offset + (at - first) * ROW}px)`;
    });
    return { rows, offset };
  }
}

class Line {
  constructor(place, trace) {
    this.trace = trace;
    this.row = null;
    this.indent = element('span', { class: 'indent' });
    this.fold = element('span', { class: 'fold' });
    this.program = element('span', { class: 'program' });
    this.telling = element('span', { class: 'telling' });
    this.args = element('span', { class: 'args code' });
    this.pid = element('span', { class: 'pid', role: 'gridcell' });
    this.exit = element('span', { class: 'exit', role: 'gridcell' });
    this.took = element('span', { class: 'took', role: 'gridcell' });
    const name = element('span', { class: 'name', role: 'gridcell' }, this.indent, this.fold, this.program,
      this.telling, this.args);
    this.node = element('div', { class: 'row', role: 'row' }, name, this.pid, this.exit, this.took);
    place.append(this.node);
  }

  show(row, at, view) {
    this.node.hidden = !row;
    if (!row) return;
    const chosen = view.chosen === row;
    if (this.row !== row) {
      this.row = row;
      this.node.row = row;
      this.fill(row, at, view);
    }
    if (this.chosen !== chosen) {
      this.chosen = chosen;
      this.node.setAttribute('aria-selected', chosen);
    }
  }

  fill(row, at, view) {
    const { node } = this;
    const failed = row.failure && !row.lookup;
    const around = view.around(row);
    node.className = `row ${row.kind}${failed ? ' failed' : ''}${around ? ' around' : ''}`;
    node.id = `row-${row.index}`;
    node.setAttribute('aria-rowindex', at + 1);
    node.setAttribute('aria-level', row.depth + 1);
    const children = row.children.length > 0;
    const folded = view.isFolded(row);
    if (children) node.setAttribute('aria-expanded', !folded);
    else node.removeAttribute('aria-expanded');
    this.indent.style.width = `${14 * Math.min(row.depth, DEEPEST)}px`;
    this.fold.textContent = children ? (folded ? '▶' : '▼') : '';
    this.program.textContent = title(row);
    this.telling.textContent = row.record ? telling(row.record, this.trace) : '';
    this.telling.hidden = !this.telling.textContent;
    this.args.textContent = row.record ? this.arguments(row.record) : '';
    this.pid.textContent = row.process.pid;
    this.exit.textContent = outcome(row);
    this.took.textContent = row.kind === 'failed' ? '' : time(row.duration);
  }

  // The arguments behind the program's name, as many as can be seen.
  arguments(record) {
    const argv = this.trace.list(record[EXEC.argv]) ?? [];
    let text = '';
    for (let i = 1; i < argv.length && text.length < ARGS_SHOWN; i++) {
      const argument = this.trace.string(argv[i]);
      text += ` ${argument === undefined ? '[not read]' : word(argument.slice(0, ARGS_SHOWN))}`;
    }
    return text.slice(1, ARGS_SHOWN);
  }
}

function title(row) {
  return row.kind === 'fork' ? `${shown(row.name)} (fork)`.trim() : shown(row.name);
}

// How it ended, in a word.
function outcome(row) {
  if (row.kind === 'failed') return row.errno;
  if (!row.last) return `→ ${shown(row.next.name)}`;
  const { status, signal } = row.process;
  if (signal) return signal;
  return status === undefined ? '…' : String((status >> 8) & 255);
}
