// Sums over the whole trace: programs, and how many processes ran at a time.

function programs(rows) {
  const found = new Map();
  const path = []; // the row's ancestors
  const around = new Map(); // those of them that are programs, by name
  for (const row of rows) {
    while (path.length > row.depth) {
      const left = path.pop();
      if (left.kind === 'exec') around.get(left.name).pop();
    }
    path.push(row);
    if (row.kind !== 'exec') continue;
    if (!around.has(row.name)) around.set(row.name, []);
    if (!found.has(row.name)) found.set(row.name, { name: row.name, count: 0, total: 0, own: 0 });
    const program = found.get(row.name);
    const outer = around.get(row.name);
    program.count += 1;
    program.own += row.own;
    // A make within a make is in its time already.
    if (!outer.length || outer[0].process === row.process) program.total += row.duration;
    outer.push(row);
  }
  return [...found.values()];
}

// The number of processes over time as steps: those that there are, and those of them that wait for no child.
function running(processes, latest) {
  const changes = [];
  const children = new Map(); // how many of each live
  for (const process of processes) {
    changes.push([process.start, 1, process], [process.end ?? latest, -1, process]);
  }
  changes.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
  const times = new Float64Array(changes.length);
  const alive = new Uint32Array(changes.length);
  const working = new Uint32Array(changes.length);
  const living = new Set();
  let busy = 0;
  changes.forEach(([time, change, process], at) => {
    const { parent } = process;
    const siblings = (children.get(parent) ?? 0) + change;
    if (change > 0) {
      living.add(process);
      if (!children.get(process)) busy += 1;
      if (living.has(parent) && siblings === 1) busy -= 1;
    } else {
      living.delete(process);
      if (!children.get(process)) busy -= 1;
      if (living.has(parent) && siblings === 0) busy += 1;
    }
    if (parent) children.set(parent, siblings);
    times[at] = time;
    alive[at] = living.size;
    working[at] = busy;
  });
  return { times, alive, working, ...peaks(times, alive, working) };
}

function peaks(times, alive, working) {
  let area = 0;
  let mostAlive = 0;
  let mostWorking = 0;
  for (let i = 0; i < times.length; i++) {
    const until = times[i + 1] ?? times[i];
    area += working[i] * (until - times[i]);
    // What came and went in no time is not a peak.
    if (until > times[i]) {
      mostAlive = Math.max(mostAlive, alive[i]);
      mostWorking = Math.max(mostWorking, working[i]);
    }
  }
  const length = times.length ? times[times.length - 1] - times[0] : 0;
  return { mostAlive, mostWorking, average: length ? area / length : 0 };
}
