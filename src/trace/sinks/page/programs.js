// The lists of programs: which took the longest, which ran most often, and the longest single runs.

const LISTED = 100;
const RUNS_LISTED = 20;

class Programs {
  constructor(rows, view) {
    this.view = view;
    this.programs = programs(rows);
    const runs = rows.filter((row) => row.kind === 'exec');
    this.longest = runs.sort((a, b) => b.own - a.own).slice(0, RUNS_LISTED);
    byId('programs').replaceChildren(
      ...this.list('slowest', 'Slowest programs', (a, b) => b.own - a.own || b.count - a.count),
      ...this.list('frequent', 'Most frequent programs', (a, b) => b.count - a.count || b.own - a.own),
      ...this.runs(),
    );
  }

  list(id, title, order) {
    const sorted = [...this.programs].sort(order);
    const body = element('tbody');
    const fill = (most) => body.replaceChildren(...sorted.slice(0, most).map((program) => this.line(program)));
    fill(10);
    const more = sorted.length > 10 && element('button', {
      onclick: (event) => {
        const all = event.target.getAttribute('aria-expanded') === 'false';
        fill(all ? LISTED : 10);
        event.target.setAttribute('aria-expanded', all);
        event.target.textContent = all ? 'Fewer' : 'More';
      },
      'aria-expanded': 'false',
    }, 'More');
    return [
      element('h3', { id: `${id}-title` }, title, more || null),
      element('table', { id, class: 'lists', 'aria-labelledby': `${id}-title` },
        element('thead', {}, cells('th', ['Program', 'Count', 'Total', 'Own'],
          ['', '', 'From exec to exit; of a program within itself, the outer one', 'Without the time when its children ran'])),
        body),
    ];
  }

  line(program) {
    const button = element('button', {
      class: 'link', title: 'Show these only',
      onclick: () => this.view.search(`basename=${filterValue(program.name)}`),
    }, shown(program.name));
    return cells('td', [button, program.count.toLocaleString('en'), time(program.total), time(program.own)]);
  }

  runs() {
    const lines = this.longest.map((row) => cells('td', [
      rowLink(row, this.view, `${shown(row.name)} ${telling(row.record, this.view.trace) || lastWord(row.record, this.view.trace)}`), time(row.own),
    ]));
    return [
      element('h3', { id: 'longest-title' }, 'Longest single runs'),
      element('table', { id: 'longest', class: 'lists', 'aria-labelledby': 'longest-title' },
        element('thead', {}, cells('th', ['Program', 'Own'])), element('tbody', {}, ...lines)),
    ];
  }
}

function cells(name, contents, titles = []) {
  return element('tr', {}, ...contents.map((content, i) => element(name, { title: titles[i] || undefined }, content)));
}

function rowLink(row, view, text) {
  return element('button', { class: 'link', 'data-row': row.index, onclick: () => view.choose(row, true) }, text);
}

// A value as the filter language takes it.
function filterValue(text) {
  if (/^[^\s"'()~=!<>,&|][^\s"'()&|,]*$/.test(text) && !/^(and|or|not|in)$/.test(text)) return text;
  return `"${text.replaceAll('"', '\\"')}"`;
}
