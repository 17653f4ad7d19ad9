// What is drawn on canvases: the strip with the number of processes, the axis, and the rows' bars.

const ROW = 22;
const BAR = 10;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

class Canvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.width = 0;
    this.height = 0;
  }

  // Makes it as large as its place, in the screen's own pixels.
  fit() {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = devicePixelRatio;
    this.width = clientWidth;
    this.height = clientHeight;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    this.context = this.canvas.getContext('2d');
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.font = getComputedStyle(document.documentElement).font.replace(/13px/, '11px');
  }
}

class Chart {
  constructor(model, latest) {
    this.model = model; // what running() has found
    this.latest = Math.max(latest, 1);
    this.strip = new Canvas(byId('strip'));
    this.axis = new Canvas(byId('axis'));
    this.lanes = new Canvas(byId('lanes'));
    this.from = 0;
    this.to = this.latest;
    this.pointer = null; // x of the mouse over the time
    this.dragged = null; // a part of the strip that is being chosen
    this.colors();
  }

  colors() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    this.color = Object.fromEntries(
      ['ground', 'text', 'quiet', 'line', 'chosen', 'own', 'waits', 'fork', 'failed', 'failed-waits'].map(
        (name) => [name, color(name)]));
  }

  fit() {
    for (const canvas of [this.strip, this.axis, this.lanes]) canvas.fit();
    this.prepareStrip();
  }

  x(time) {
    return ((time - this.from) / (this.to - this.from)) * this.lanes.width;
  }

  timeAt(x) {
    return this.from + (x / this.lanes.width) * (this.to - this.from);
  }

  // Shows this time; never less than 20 µs, never beyond the trace.
  show(from, to) {
    const length = Math.min(Math.max(to - from, 20), this.latest);
    this.from = Math.min(Math.max(from + (to - from - length) / 2, 0), this.latest - length);
    this.to = this.from + length;
  }

  zoom(factor, x = this.lanes.width / 2) {
    const middle = this.timeAt(x);
    this.show(middle - (middle - this.from) * factor, middle + (this.to - middle) * factor);
  }

  pan(pixels) {
    const by = (pixels / this.lanes.width) * (this.to - this.from);
    const length = this.to - this.from;
    const from = Math.min(Math.max(this.from + by, 0), this.latest - length);
    this.show(from, from + length);
  }

  // For each pixel of the strip the most that were there, and that ran.
  prepareStrip() {
    const { width } = this.strip;
    const { times, alive, working } = this.model;
    this.columns = { alive: new Float64Array(width), working: new Float64Array(width) };
    for (let i = 0; i < times.length; i++) {
      const first = Math.max(0, Math.floor((times[i] / this.latest) * width));
      const last = Math.min(width - 1, Math.floor(((times[i + 1] ?? this.latest) / this.latest) * width));
      for (let x = first; x <= last; x++) {
        this.columns.alive[x] = Math.max(this.columns.alive[x], alive[i]);
        this.columns.working[x] = Math.max(this.columns.working[x], working[i]);
      }
    }
    this.most = this.columns.alive.reduce((a, b) => Math.max(a, b), 1);
  }

  drawStrip() {
    const { context: c, width, height } = this.strip;
    c.clearRect(0, 0, width, height);
    const scale = (height - 20) / this.most;
    for (const [columns, color] of [[this.columns.alive, 'waits'], [this.columns.working, 'own']]) {
      c.fillStyle = this.color[color];
      for (let x = 0; x < width; x++) {
        const tall = columns[x] * scale;
        c.fillRect(x, height - tall, 1, tall);
      }
    }
    c.fillStyle = this.color.quiet;
    c.textBaseline = 'top';
    c.textAlign = 'left';
    c.fillText(`${this.most} processes`, 5, 3);
    const [from, to] = this.dragged ?? [this.from, this.to];
    if (from > 0 || to < this.latest) {
      const left = (from / this.latest) * width;
      const right = Math.max((to / this.latest) * width, left + 2);
      c.globalAlpha = 0.66;
      c.fillStyle = this.color.ground;
      c.fillRect(0, 0, left, height);
      c.fillRect(right, 0, width - right, height);
      c.globalAlpha = 1;
      c.strokeStyle = this.color.quiet;
      c.strokeRect(left + 0.5, 0.5, right - left - 1, height - 1);
    }
  }

  // The times that get a tick: some 90 pixels apart.
  ticks() {
    const wanted = ((this.to - this.from) / this.lanes.width) * 90;
    const magnitude = 10 ** Math.floor(Math.log10(wanted));
    const step = wanted < 1e6
      ? [1, 2, 5, 10].map((n) => n * magnitude).find((n) => n >= wanted)
      : (STEPS.map((n) => n * 1e6).find((n) => n >= wanted) ?? Math.ceil(wanted / 86400e6) * 86400e6);
    this.step = Math.max(1, step);
    const ticks = [];
    for (let time = Math.ceil(this.from / this.step) * this.step; time <= this.to; time += this.step) ticks.push(time);
    return ticks;
  }

  drawAxis(ticks) {
    const { context: c, width, height } = this.axis;
    c.clearRect(0, 0, width, height);
    c.textBaseline = 'middle';
    c.textAlign = 'left';
    for (const tick of ticks) {
      const x = Math.round(this.x(tick));
      c.fillStyle = this.color.line;
      c.fillRect(x, 0, 1, height);
      c.fillStyle = this.color.quiet;
      const text = moment(tick, this.step);
      if (x + 5 + c.measureText(text).width < width) c.fillText(text, x + 5, height / 2 + 0.5);
    }
    if (this.pointer !== null) this.drawPointer(c, width, height);
  }

  drawPointer(c, width, height) {
    const text = moment(Math.round(this.timeAt(this.pointer)), this.step / 100);
    const wide = c.measureText(text).width + 10;
    const x = Math.min(Math.max(this.pointer - wide / 2, 0), width - wide);
    c.fillStyle = this.color.text;
    c.fillRect(x, 4, wide, height - 8);
    c.fillStyle = this.color.ground;
    c.fillText(text, x + 5, height / 2 + 0.5);
  }

  // The bars of the rows that can be seen; `top` is where the first of them begins.
  drawLanes(rows, top, around) {
    const ticks = this.ticks();
    this.drawAxis(ticks);
    const { context: c, width, height } = this.lanes;
    c.clearRect(0, 0, width, height);
    c.fillStyle = this.color.line;
    for (const tick of ticks) c.fillRect(Math.round(this.x(tick)), 0, 1, height);
    rows.forEach((row, at) => {
      c.globalAlpha = around(row) ? 0.4 : 1;
      this.drawRow(c, row, top + at * ROW + (ROW - BAR) / 2, width);
    });
    c.globalAlpha = 1;
    if (this.pointer !== null) {
      c.fillStyle = this.color.quiet;
      c.fillRect(Math.round(this.pointer), 0, 1, height);
    }
  }

  drawRow(c, row, y, width) {
    const left = this.x(row.start);
    const right = Math.max(this.x(row.end), left + 2);
    const failed = row.failure && !row.lookup;
    if (row.kind === 'failed') {
      if (left > -BAR && left < width + BAR) this.drawCross(c, left, y, failed);
      return;
    }
    if (row.kind === 'exec' && row.parent?.process !== row.process) {
      // From the fork to the exec.
      const begun = Math.max(this.x(row.process.start), 0);
      c.fillStyle = this.color.fork;
      c.fillRect(begun, y + BAR / 2 - 0.5, Math.max(Math.min(left, width) - begun, 0), 1);
    }
    if (right < 0 || left > width) return;
    c.fillStyle = this.color[row.kind === 'fork' && !failed ? 'fork' : failed ? 'failed' : 'own'];
    this.fill(c, left, right, y, width);
    c.fillStyle = this.color[failed ? 'failed-waits' : 'waits'];
    this.drawBusy(c, row.busy, y, width);
  }

  fill(c, left, right, y, width) {
    const from = Math.max(left, -2);
    c.fillRect(from, y, Math.min(right, width + 2) - from, BAR);
  }

  drawCross(c, x, y, failed) {
    c.strokeStyle = this.color[failed ? 'failed' : 'fork'];
    c.lineWidth = 1.5;
    c.beginPath();
    c.moveTo(x - 3, y + 2);
    c.lineTo(x + 3, y + 8);
    c.moveTo(x + 3, y + 2);
    c.lineTo(x - 3, y + 8);
    c.stroke();
    c.lineWidth = 1;
  }

  // The times with children: as many rectangles as there are pixels, at most, however many times they are.
  drawBusy(c, busy, y, width) {
    let at = firstAfter(busy, this.from);
    while (at < busy.length && busy[at] < this.to) {
      const left = this.x(busy[at]);
      let right = this.x(busy[at + 1]);
      at += 2;
      while (at < busy.length && this.x(busy[at]) - right < 0.5 && right < width) {
        right = this.x(busy[at + 1]);
        at += 2;
        if (right - left < 1) at = Math.max(at, firstAfter(busy, this.timeAt(left + 1)));
      }
      if (right - left > 0.3) this.fill(c, left, right, y, width);
    }
  }
}

// The place of the first span that ends after `time`.
function firstAfter(spans, time) {
  let low = 0;
  let high = spans.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[2 * middle + 1] > time) high = middle;
    else low = middle + 1;
  }
  return 2 * low;
}
