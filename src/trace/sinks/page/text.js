// Text of traced processes, made harmless and readable, and times for people.

// What a terminal or a page acts on, or what hides or reorders text; a lone surrogate from U+DC80 on is a byte
// that is not of a UTF-8 character.
const DANGEROUS =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\u{e0000}|[\u{e0001}-\u{e007f}]|\p{Cs}/gu;
const SHORT = { '\n': '\\n', '\t': '\\t', '\r': '\\r' };

function hex(number, width) {
  return number.toString(16).padStart(width, '0');
}

// The text with everything that is not plain written as an escape.
function shown(text) {
  return text.replace(DANGEROUS, (c) => {
    const code = c.codePointAt(0);
    if (SHORT[c]) return SHORT[c];
    if (code >= 0xdc80 && code <= 0xdcff) return '\\x' + hex(code - 0xdc00, 2);
    return code < 0x80 ? '\\x' + hex(code, 2) : '\\u{' + hex(code, 0) + '}';
  });
}

// A word as it is shown in a command line: quoted where a shell would want it.
function word(text) {
  if (/^[\w%+,\-./:=@^]+$/.test(text)) return text;
  const plain = shown(text);
  if (plain === text && !/\\('|$)/.test(text)) return "'" + text.replaceAll("'", "'\\''") + "'";
  return "$'" + shown(text.replaceAll('\\', '\\\\')).replaceAll("'", '\\x27').replace(/\\u\{([0-9a-f]+)\}/g,
    (_, code) => '\\U' + code.padStart(8, '0')) + "'";
}

// A time in microseconds, with three digits that count.
function time(us) {
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${digits(us / 1e3)} ms`;
  if (us < 60e6) return `${digits(us / 1e6)} s`;
  const seconds = Math.round(us / 1e6);
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${two(seconds % 60)} min`;
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)} h`;
}

function digits(number) {
  return number.toFixed(number < 10 ? 2 : number < 100 ? 1 : 0);
}

function two(number) {
  return String(number).padStart(2, '0');
}

// A moment in microseconds since the beginning, as precise as ticks that are `step` apart.
function moment(us, step) {
  if (step >= 60e6) return `${Math.floor(us / 60e6)}:${two(Math.round(us / 1e6) % 60)} min`;
  if (us === 0) return '0 s';
  if (step >= 1e5) return `${(us / 1e6).toFixed(step >= 1e6 ? 0 : 1)} s`;
  if (step >= 100) return `${(us / 1e3).toFixed(step >= 1e3 ? 0 : 1)} ms`;
  return `${us} µs`;
}

function bytes(count) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  while (count >= 1000 && at < 4) {
    count /= 1000;
    at += 1;
  }
  return `${at ? digits(count) : count} ${units[at]}`;
}

function count(number, one, many) {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

const SOURCE = /\.(c|cc|cpp|cxx|c\+\+|m|mm|rs|go|s|S|asm|f|f90|java|kt|cs|hs|ml|zig|d|py|pl|rb|ts|js|cu)$/;

// What tells one run of a compiler or interpreter from another: the name of its source.
function telling(record, trace) {
  const argv = trace.list(record[EXEC.argv]) ?? [];
  for (let i = 1; i < argv.length; i++) {
    const text = trace.string(argv[i]) ?? '';
    if (text.length < 4096 && SOURCE.test(text) && !/[\s]|^-/.test(text)) return base(text);
  }
  return '';
}

// As a rule, the last argument that is no option.
function lastWord(record, trace) {
  const argv = trace.stringsOf(record[EXEC.argv]) ?? [];
  const text = argv.slice(1).findLast((word) => word && !word.startsWith('-')) ?? '';
  return /\s/.test(text) ? shown(text.slice(0, 60)) : base(text);
}

function base(path) {
  return shown(path.slice(path.lastIndexOf('/') + 1).slice(0, 60));
}

// An element with attributes and children; a text is never read as HTML.
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

function byId(id) {
  return document.getElementById(id);
}
