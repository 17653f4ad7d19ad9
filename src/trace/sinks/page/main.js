// The page: what is shown, and what the mouse and the keys do.

const SEARCH_DELAY = 120;

class View {
  constructor(trace) {
    this.trace = trace;
    const builder = new Builder(trace);
    builder.build();
    this.processes = builder.processes;
    this.latest = builder.latest;
    this.rows = layOut(builder.rows);
    this.facts = new Facts(trace);
    this.folded = new Set();
    this.matched = null; // the rows that were searched for, or null
    this.chosen = null;
    this.lookups = false;
    this.model = running(this.processes, this.latest);
    this.chart = new Chart(this.model, this.latest);
    this.list = new Rows(trace);
    this.details = new Details(trace, this.facts, this);
    this.pending = false;
    new Programs(this.rows, this);
    this.describe();
    this.refresh();
    this.fit();
  }

  // Whether a row is there for the sake of those below only.
  around(row) {
    return this.matched !== null && !this.matched.has(row);
  }

  isFolded(row) {
    return this.matched === null && this.folded.has(row);
  }

  // Which rows there are to be seen.
  refresh() {
    const shown = [];
    const kept = this.matched && this.withAncestors();
    for (let at = 0; at < this.rows.length;) {
      const row = this.rows[at];
      const hidden = kept ? !kept.has(row) : row.lookup && !this.lookups;
      if (!hidden) shown.push(row);
      at = this.isFolded(row) ? row.after : at + 1;
    }
    this.list.set(shown);
    this.countFailures();
    this.draw();
  }

  withAncestors() {
    const kept = new Set();
    for (const row of this.matched) {
      for (let above = row; above && !kept.has(above); above = above.parent) kept.add(above);
    }
    return kept;
  }

  countFailures() {
    const counts = (row) => row.failure && !row.lookup && !this.around(row);
    // What failed first is as a rule why the others did.
    this.failures = this.rows.filter(counts).sort((a, b) => a.end - b.end || b.depth - a.depth);
    this.showFailure();
  }

  showFailure() {
    const number = this.failures.length;
    const at = this.failures.indexOf(this.chosen);
    byId('failures').textContent = at < 0 ? count(number, 'failure', 'failures') : `${at + 1} of ${number}`;
    byId('failures').className = number ? 'some' : '';
    byId('failure-before').disabled = byId('failure-next').disabled = !number;
  }

  nextFailure(step) {
    const { failures, chosen } = this;
    if (!failures.length) return;
    let at = failures.indexOf(chosen);
    if (at < 0) at = step > 0 ? -1 : failures.length;
    this.choose(failures[(at + step + failures.length) % failures.length], true);
  }

  // Shows the details of a row; `reveal`: and the row, where it is not in sight.
  choose(row, reveal = false) {
    this.chosen = row;
    if (row && reveal) this.reveal(row);
    if (row) this.list.scroller.setAttribute('aria-activedescendant', `row-${row.index}`);
    else this.list.scroller.removeAttribute('aria-activedescendant');
    this.details.show(row);
    if (row) tab('details');
    this.showFailure();
    this.draw();
  }

  reveal(row) {
    let hidden = false;
    for (let above = row.parent; above; above = above.parent) hidden = this.folded.delete(above) || hidden;
    if (row.lookup && !this.lookups) {
      this.lookups = byId('lookups').checked = true;
      hidden = true;
    }
    if (hidden) this.refresh();
    if (!this.list.places.has(row)) this.search('');
    this.list.reveal(row);
    const { chart } = this;
    if (row.end < chart.from || row.start > chart.to) {
      const half = (chart.to - chart.from) / 2;
      chart.show(row.start - half, row.start + half);
    }
  }

  search(text) {
    byId('search').value = text;
    this.find();
  }

  find() {
    const input = byId('search');
    const found = byId('found');
    const asked = interpret(input.value, this.facts);
    found.className = asked.kind === 'error' ? 'error' : '';
    input.toggleAttribute('aria-invalid', asked.kind === 'error');
    if (asked.kind === 'error') {
      // Below the place in the input, whose letters are all as wide.
      const place = ' '.repeat(Math.min(asked.at, 60));
      found.replaceChildren(element('span', { class: 'code' }, place.replaceAll(' ', '\u00a0')), `▲ ${asked.message}`);
      return;
    }
    if (asked.kind === 'none') {
      this.matched = null;
      found.textContent = '';
    } else {
      const searched = this.rows.filter((row) => this.lookups || !row.lookup);
      this.matched = new Set(searched.filter((row) => asked.test(row) === true));
      found.textContent = `${asked.kind}: ${this.matched.size.toLocaleString('en')} of ${count(searched.length, 'row', 'rows')}`;
    }
    this.refresh();
    if (this.chosen) this.list.reveal(this.chosen);
    else this.list.top = 0;
    this.draw();
  }

  fold(row, folded) {
    if (!row.children.length || this.matched) return;
    if (folded) this.folded.add(row);
    else this.folded.delete(row);
    this.refresh();
  }

  fit() {
    const { scroller } = this.list;
    const root = document.documentElement.style;
    this.tree ??= Math.round(byId('chart').clientWidth * 0.52);
    const widest = byId('chart').clientWidth - 120;
    root.setProperty('--tree', `${Math.max(260, Math.min(this.tree, widest))}px`);
    root.setProperty('--bar', `${scroller.offsetWidth - scroller.clientWidth}px`);
    this.list.fit();
    this.chart.fit();
    this.stripIsOld = true;
    this.draw();
  }

  // Draws before the next picture, once however often it is asked.
  draw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      const { rows, offset } = this.list.draw(this);
      this.chart.drawLanes(rows, offset, (row) => this.around(row));
      const { from, to, dragged } = this.chart;
      const strip = `${from} ${to} ${dragged}`;
      if (this.stripIsOld || strip !== this.drawnStrip) this.chart.drawStrip();
      Object.assign(byId('strip').dataset, { from, to });
      this.stripIsOld = false;
      this.drawnStrip = strip;
    });
  }

  // The lines on top.
  describe() {
    const { about, end } = this.trace;
    const execs = this.rows.filter((row) => row.kind === 'exec').length;
    const command = about.command.map(word).join(' ') || 'the whole system';
    document.title = `${command.slice(0, 80)} – tracexec`;
    byId('command').textContent = command;
    byId('command').title = command;
    const status = end?.signal ? `killed by ${end.signal}` : `exit status ${(end?.status >> 8) & 255}`;
    const started = new Date(about.wall).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
    const parts = [
      end?.status === undefined ? undefined : element('span', { class: end.status ? 'bad' : '' }, status),
      time(this.latest),
      count(execs, 'program executed', 'programs executed'),
      count(this.processes.length, 'process', 'processes'),
      `${started} on ${shown(about.host)}`,
      about.source,
    ];
    byId('summary').replaceChildren(...parts.filter(Boolean).map((part) => element('span', {}, part)));
    const { mostWorking, average } = this.model;
    byId('peak').textContent = `${average.toFixed(1)} run at a time on average, ${mostWorking} at most`;
    const lookups = this.rows.filter((row) => row.lookup).length;
    byId('lookups-text').textContent = count(lookups, 'PATH lookup', 'PATH lookups');
    byId('lookups').disabled = !lookups;
    this.warn();
  }

  warn() {
    const { end } = this.trace;
    const missing = [];
    if (!end) missing.push('The trace was cut off: what came later is missing.');
    if (end?.lostEvents) missing.push(`${count(end.lostEvents, 'event was', 'events were')} lost.`);
    if (end?.lostProcesses) missing.push(`${count(end.lostProcesses, 'process', 'processes')} could not be followed.`);
    byId('warning').textContent = missing.join(' ');
    byId('warning').hidden = !missing.length;
  }
}

function tab(name) {
  for (const other of ['programs', 'details']) {
    byId(`${other}-tab`).setAttribute('aria-selected', other === name);
    byId(`${other}-tab`).tabIndex = other === name ? 0 : -1;
    byId(other).hidden = other !== name;
  }
}

addEventListener('DOMContentLoaded', async () => {
  const message = byId('message');
  try {
    const events = byId('events');
    const trace = await readTrace(events.textContent.trim());
    events.remove();
    const view = new View(trace);
    listen(view);
    message.textContent = view.rows.length ? '' : 'Nothing was executed.';
    document.documentElement.dataset.state = 'ready';
  } catch (error) {
    message.textContent = typeof DecompressionStream === 'undefined'
      ? 'This page needs a browser of 2023 or later (Firefox 113, Chromium 80, Safari 16.4).'
      : `What is embedded cannot be shown: ${error.message}`;
    document.documentElement.dataset.state = 'broken';
    console.error(error);
  }
});
