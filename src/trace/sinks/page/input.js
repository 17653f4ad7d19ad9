// What the mouse and the keys do.

const DRAG_MARGIN = 4;

function listen(view) {
  addEventListener('resize', () => view.fit());
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    view.chart.colors();
    view.stripIsOld = true;
    view.draw();
  });
  view.list.scroller.addEventListener('scroll', () => view.draw(), { passive: true });
  listenToTools(view);
  listenToRows(view);
  listenToTime(view);
  listenToStrip(view);
  listenToDivider(view);
  addEventListener('keydown', (event) => key(view, event));
}

function listenToTools(view) {
  let delay;
  byId('search').addEventListener('input', () => {
    clearTimeout(delay);
    delay = setTimeout(() => view.find(), SEARCH_DELAY);
  });
  const zoom = (factor) => () => {
    view.chart.zoom(factor);
    view.draw();
  };
  const actions = {
    'failure-before': () => view.nextFailure(-1),
    'failure-next': () => view.nextFailure(1),
    'zoom-in': zoom(1 / 1.6),
    'zoom-out': zoom(1.6),
    'zoom-all': () => showAll(view),
    'help-button': () => byId('help').showModal(),
    'programs-tab': () => tab('programs'),
    'details-tab': () => tab('details'),
  };
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener('click', action);
  byId('lookups').addEventListener('change', (event) => {
    view.lookups = event.target.checked;
    view.find();
  });
  byId('tabs').addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    const other = byId('programs').hidden ? 'programs' : 'details';
    tab(other);
    byId(`${other}-tab`).focus();
    event.stopPropagation();
  });
}

function showAll(view) {
  view.chart.show(0, view.latest);
  view.draw();
}

function listenToRows(view) {
  const rowOf = (event) => event.target.closest?.('.row')?.row;
  byId('rows').addEventListener('click', (event) => {
    const row = rowOf(event);
    if (!row || view.moved) return;
    if (event.target.classList.contains('fold')) view.fold(row, !view.folded.has(row));
    else view.choose(row);
  });
  byId('rows').addEventListener('dblclick', (event) => {
    const row = rowOf(event);
    if (row && !event.target.classList.contains('fold')) view.fold(row, !view.folded.has(row));
  });
}

// Dragging and the wheel over the bars and the axis.
function listenToTime(view) {
  const { chart, list } = view;
  const { scroller } = list;
  const xOf = (event) => event.clientX - chart.axis.canvas.getBoundingClientRect().left;
  const point = (event) => {
    const x = xOf(event);
    const pointer = x >= 0 && x < chart.lanes.width ? x : null;
    if (pointer === chart.pointer) return;
    chart.pointer = pointer;
    view.draw();
  };
  for (const place of [scroller, chart.axis.canvas]) {
    place.addEventListener('pointermove', point);
    place.addEventListener('pointerleave', () => {
      chart.pointer = null;
      view.draw();
    });
    place.addEventListener('wheel', (event) => wheel(view, event, xOf(event)), { passive: false });
    drag(place, {
      begin: (event) => {
        view.moved = false;
        return event.button === 0 && xOf(event) >= 0 && xOf(event) < chart.lanes.width
          ? { x: event.clientX, y: event.clientY, top: list.top } : null;
      },
      move: (event, from) => {
        if (!view.moved && Math.hypot(event.clientX - from.x, event.clientY - from.y) < DRAG_MARGIN) return;
        view.moved = true;
        chart.pan((from.last ?? from.x) - event.clientX);
        from.last = event.clientX;
        if (place === scroller) list.top = from.top + from.y - event.clientY;
        view.draw();
      },
    });
  }
}

function wheel(view, event, x) {
  const { chart } = view;
  const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
  const overAxis = event.currentTarget !== view.list.scroller;
  if (event.ctrlKey || event.metaKey || (overAxis && !event.shiftKey)) {
    chart.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 150), Math.min(Math.max(x, 0), chart.lanes.width));
  } else if (sideways && (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) {
    chart.pan(sideways);
  } else {
    return;
  }
  event.preventDefault();
  view.draw();
}

// Follows the pointer from where it was pressed, outside of the element too.
function drag(place, { begin, move, end }) {
  place.addEventListener('pointerdown', (event) => {
    const from = begin(event);
    if (!from) return;
    const moves = (next) => move(next, from);
    const over = (last) => {
      removeEventListener('pointermove', moves);
      removeEventListener('pointerup', over);
      removeEventListener('pointercancel', over);
      end?.(last, from);
    };
    addEventListener('pointermove', moves);
    addEventListener('pointerup', over);
    addEventListener('pointercancel', over);
  });
}

// The strip: a part of the time is chosen by dragging over it.
function listenToStrip(view) {
  const { chart } = view;
  const { canvas } = chart.strip;
  const timeAt = (event) => {
    const { left, width } = canvas.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - left) / width, 0), 1) * view.latest;
  };
  drag(canvas, {
    begin: (event) => (event.button === 0 ? { time: timeAt(event), x: event.clientX } : null),
    move: (event, from) => {
      const to = timeAt(event);
      chart.dragged = [Math.min(from.time, to), Math.max(from.time, to)];
      view.draw();
    },
    end: (event, from) => {
      const chosen = chart.dragged;
      chart.dragged = null;
      if (chosen && Math.abs(event.clientX - from.x) >= DRAG_MARGIN) chart.show(...chosen);
      view.draw();
    },
  });
  canvas.addEventListener('dblclick', () => showAll(view));
  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    const time = timeAt(event);
    chart.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 150), chart.x(time));
    view.draw();
  }, { passive: false });
}

function listenToDivider(view) {
  const divider = byId('divider');
  const move = (width) => {
    view.tree = width;
    view.fit();
  };
  drag(divider, {
    begin: (event) => {
      event.preventDefault();
      return { x: event.clientX, width: byId('columns').offsetWidth };
    },
    move: (event, from) => move(from.width + event.clientX - from.x),
  });
  divider.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -20, ArrowRight: 20 }[event.key];
    if (!step) return;
    event.stopPropagation();
    move(byId('columns').offsetWidth + step);
  });
}

function key(view, event) {
  const typing = event.target.closest?.('input[type="search"]');
  if (event.ctrlKey || event.altKey || event.metaKey || byId('help').open) return;
  if (event.key === 'Escape') escape(view, typing);
  else if (typing) typed(view, event);
  else if (!act(view, event)) return;
  else event.preventDefault();
}

function escape(view, typing) {
  if (typing || view.matched) {
    view.search('');
    view.list.scroller.focus({ preventScroll: true });
  } else {
    view.choose(null);
    tab('programs');
  }
}

function typed(view, event) {
  if (event.key !== 'Enter' && event.key !== 'ArrowDown') return;
  event.preventDefault();
  view.find();
  view.list.scroller.focus({ preventScroll: true });
}

// What a key does outside of the search; false where it does nothing.
function act(view, event) {
  const { chart, list } = view;
  const tenth = chart.lanes.width / 10;
  const actions = {
    '/': () => { byId('search').focus(); byId('search').select(); },
    '?': () => byId('help').showModal(),
    n: () => view.nextFailure(1),
    N: () => view.nextFailure(-1),
    '+': () => chart.zoom(1 / 1.6),
    '=': () => chart.zoom(1 / 1.6),
    '-': () => chart.zoom(1.6),
    0: () => chart.show(0, view.latest),
    '[': () => chart.pan(-tenth),
    ']': () => chart.pan(tenth),
    z: () => zoomTo(view),
  };
  if (document.activeElement === list.scroller || document.activeElement === document.body) {
    Object.assign(actions, movements(view));
  }
  const action = Object.hasOwn(actions, event.key) ? actions[event.key] : undefined;
  if (!action) return false;
  action();
  view.draw();
  return true;
}

function zoomTo(view) {
  const row = view.chosen;
  if (!row) return;
  const margin = Math.max(row.duration, 10) * 0.1;
  view.chart.show(row.start - margin, row.end + margin);
}

function movements(view) {
  const { list, chosen } = view;
  const at = list.places.get(chosen) ?? -1;
  const page = Math.max(1, Math.floor(list.height / ROW) - 1);
  const go = (to) => () => {
    const row = list.shown[Math.min(Math.max(to, 0), list.shown.length - 1)];
    if (row) view.choose(row);
    if (row) list.reveal(row);
  };
  return {
    ArrowDown: go(at + 1),
    ArrowUp: go(at - 1),
    PageDown: go(at + page),
    PageUp: go(at - page),
    Home: go(0),
    End: go(list.shown.length - 1),
    ArrowLeft: () => {
      if (chosen?.children.length && !view.isFolded(chosen)) view.fold(chosen, true);
      else if (chosen?.parent) view.choose(chosen.parent, true);
    },
    ArrowRight: () => {
      if (!chosen) return;
      if (view.isFolded(chosen)) view.fold(chosen, false);
      else go(at + 1)();
    },
  };
}
