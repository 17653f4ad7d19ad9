// The filter language, tracexec-filter(7): text in, a function out that says of a row true, false, or null for
// what cannot be known.

class FilterError extends Error {
  constructor(message, at) {
    super(message);
    this.at = at;
  }
}

const OF_PARENTS = /^(argv|argc|filename|basename|exe|interpreter|comm|cwd|uid|gid|pid|depth|cgroup)\b/;
const SYMBOL = /!~|==|!=|<=|>=|~|=|<|>/y;
const WORD = /(not\s+)?(contains|startswith|endswith|glob|in)(?![\w.[-])/y;
const ORDER = ['<', '<=', '>', '>='];

class Parser {
  constructor(text, facts) {
    this.text = text;
    this.facts = facts;
    this.at = 0;
  }

  parse() {
    const test = this.or();
    this.space();
    if (this.at < this.text.length) {
      const what = this.text[this.at] === ')' ? 'this closes nothing' : 'expected "and" or "or"; quote a value with spaces';
      throw new FilterError(what, this.at);
    }
    return test;
  }

  space() {
    this.match(/\s*/y);
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found;
  }

  // What `pattern` matches after spaces; without it nothing is taken.
  next(pattern) {
    const before = this.at;
    this.space();
    const found = this.match(pattern);
    if (!found) this.at = before;
    return found;
  }

  or() {
    const tests = [this.and()];
    while (this.next(/\|\||or(?![\w.[-])/y)) tests.push(this.and());
    return tests.length === 1 ? tests[0] : (row) => any(tests, (test) => test(row));
  }

  and() {
    const tests = [this.not()];
    while (this.next(/&&|and(?![\w.[-])/y)) tests.push(this.not());
    if (tests.length === 1) return tests[0];
    return (row) => negate(any(tests, (test) => negate(test(row))));
  }

  not() {
    if (!this.next(/!(?![~=])|not(?![\w.[-])/y)) return this.primary();
    const test = this.not();
    return (row) => negate(test(row));
  }

  primary() {
    this.space();
    const begin = this.at;
    if (this.match(/\(/y)) {
      const test = this.or();
      if (!this.next(/\)/y)) throw new FilterError('this parenthesis is not closed', begin);
      return test;
    }
    return this.comparison(this.field());
  }

  field() {
    this.space();
    const begin = this.at;
    const whose = this.match(/(parent|ancestor)(?=\.)\./y)?.[1];
    const name = this.match(/(prev|ns)\.[a-z]+|[a-z_]+/y)?.[0];
    if (!name) throw new FilterError('expected a field, such as argv or basename', this.at);
    if (name === 'parent' && !whose) {
      return { begin, optional: true, type: 'text', get: (row) => [...ancestors(row)].slice(0, 1).map((r) => r.name) };
    }
    if (whose && !OF_PARENTS.test(name)) throw new FilterError(`of parents and ancestors, ${name} is not known`, begin);
    const key = this.key(name);
    const full = key === undefined ? name : name + '[]' + (this.match(/\.type\b/y) ? '.type' : '');
    const field = Object.hasOwn(FIELDS, full) ? FIELDS[full] : undefined;
    if (!field) throw new FilterError(unknownField(full, name), begin);
    const get = (row) => field.get(this.facts, row, key);
    const of = {
      parent: (row) => ofRows([...ancestors(row)].slice(0, 1), get),
      ancestor: (row) => ofRows([...ancestors(row)], get),
    };
    return { begin, name: full, ...field, get: whose ? of[whose] : get };
  }

  // What stands in brackets.
  key(name) {
    const begin = this.at;
    if (!this.match(/\[/y)) return undefined;
    const key = this.match(/"([^"]*)"|'([^']*)'|([^\]]*)/y);
    const value = key[1] ?? key[2] ?? key[3];
    if (!this.match(/\]/y)) throw new FilterError('this bracket is not closed', begin);
    const kind = Object.hasOwn(KEYS, name) ? KEYS[name] : undefined;
    if (!kind) throw new FilterError(`${name} has no members`, begin);
    if (kind !== 'name' && !/^(\*|-?\d+)$/.test(value)) throw new FilterError('expected a number or *', begin + 1);
    return value;
  }

  comparison(field) {
    const symbol = this.next(SYMBOL)?.[0];
    const word = symbol ? null : this.next(WORD);
    if (!symbol && !word) {
      if (field.optional) return (row) => any(field.get(row), () => true);
      throw new FilterError('expected an operator: =, ~, contains, startswith, in (...)', this.at);
    }
    const operator = symbol === '==' ? '=' : (symbol ?? word[2]);
    const negative = operator === '!=' || operator === '!~' || !!word?.[1];
    const test = operator === 'in' ? this.members(field) : this.test(field, operator.replace('!', ''));
    return (row) => {
      const answer = any(field.get(row), test);
      return negative ? negate(answer) : answer;
    };
  }

  members(field) {
    if (!this.next(/\(/y)) throw new FilterError('expected ( and a list of values', this.at);
    const tests = [];
    do tests.push(this.test(field, '=', true)); while (this.next(/,/y));
    if (!this.next(/\)/y)) throw new FilterError('expected , or )', this.at);
    return (value) => tests.some((test) => test(value));
  }

  test(field, operator, inList = false) {
    this.space();
    const begin = this.at;
    const value = this.value(inList);
    try {
      return tester(field.type, operator, value);
    } catch (error) {
      throw new FilterError(error.message, begin);
    }
  }

  value(inList) {
    const quote = this.match(/["']/y)?.[0];
    if (quote) return this.quoted(quote);
    const begin = this.at;
    let open = 0;
    for (; this.at < this.text.length; this.at++) {
      const c = this.text[this.at];
      const two = this.text.slice(this.at, this.at + 2);
      if (/\s/.test(c) || two === '&&' || two === '||' || (inList && c === ',' && !open)) break;
      if (c === '(') open += 1;
      if (c === ')' && --open < 0) break;
    }
    const value = this.text.slice(begin, this.at);
    if (!value) throw new FilterError('expected a value', begin);
    if (/^[~=!<>,&|]|["']/.test(value) || /^(and|or|not|in)$/.test(value)) {
      throw new FilterError('quote this value', begin);
    }
    return value;
  }

  quoted(quote) {
    const begin = this.at - 1;
    let value = '';
    for (; this.at < this.text.length; this.at++) {
      const c = this.text[this.at];
      if (c === quote) {
        this.at += 1;
        return value;
      }
      if (c === '\\' && this.text[this.at + 1] === quote) this.at += 1;
      value += this.text[this.at];
    }
    throw new FilterError('this quote is not closed', begin);
  }
}

function negate(answer) {
  return answer === null ? null : !answer;
}

// Whether `test` holds for some of the values, where they are known.
function any(values, test) {
  if (!values) return null;
  let answer = false;
  for (const value of values) {
    const one = value === null ? null : test(value);
    if (one) return true;
    if (one === null) answer = null;
  }
  return answer;
}

function ofRows(rows, get) {
  return rows.flatMap((row) => get(row) ?? [null]);
}

// What is asked of a value. The error's message tells what cannot be asked.
function tester(type, operator, value) {
  const ordered = ORDER.includes(operator);
  if (type === 'text') {
    if (ordered) throw new Error(`${operator} compares numbers, and this is a text`);
    return textTester(operator, value);
  }
  if (operator !== '=' && !(ordered && (type === 'number' || type === 'time'))) {
    throw new Error(`${operator} is not for this field`);
  }
  if (type === 'errno' || type === 'signal') {
    if (/^\d+$/.test(value)) return (found) => found[1] === Number(value);
    const name = type === 'signal' ? `SIG${value.toUpperCase().replace(/^SIG/, '')}` : value.toUpperCase();
    return (found) => found[0] === name;
  }
  if (type === 'time' && !ordered) throw new Error('a time is compared by < or >');
  const wanted = type === 'time' ? microseconds(value) : numeric(value);
  const compare = {
    '=': (found) => found === wanted,
    '<': (found) => found < wanted,
    '<=': (found) => found <= wanted,
    '>': (found) => found > wanted,
    '>=': (found) => found >= wanted,
  };
  return compare[operator];
}

function textTester(operator, value) {
  switch (operator) {
    case '=': return (found) => found === value;
    case 'contains': return (found) => found.includes(value);
    case 'startswith': return (found) => found.startsWith(value);
    case 'endswith': return (found) => found.endsWith(value);
    case 'glob': return matching(new RegExp(`^(?:${globPattern(value)})$`, 'su'));
    default: return matching(regex(value));
  }
}

function matching(pattern) {
  return (found) => pattern.test(found);
}

// A regular expression as Rust's library takes it, as far as JavaScript does.
function regex(value) {
  const caseless = value.startsWith('(?i)');
  const source = (caseless ? value.slice(4) : value).replaceAll('(?P<', '(?<');
  const flags = caseless ? 'si' : 's';
  try {
    return new RegExp(source, `${flags}u`);
  } catch {
    // With u, JavaScript refuses escapes of what needs none, such as \-.
    try {
      return new RegExp(source, flags);
    } catch (error) {
      throw new Error(error.message.replace(/^Invalid regular expression: /, 'no regular expression: '));
    }
  }
}

function globPattern(glob) {
  return glob.replace(/\\([\s\S])|\[(!?)([^\]]+)\]|[\s\S]/gu, (all, escaped, not, set) => {
    if (escaped !== undefined) return literal(escaped);
    if (set !== undefined) return `[${not ? '^' : ''}${set.replace(/[\\\]^[&]/g, '\\$&')}]`;
    return all === '*' ? '.*' : all === '?' ? '.' : literal(all);
  });
}

function literal(text) {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

function numeric(value) {
  if (!/^\d+$/.test(value)) throw new Error('expected a number');
  return Number(value);
}

function microseconds(value) {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(us|ms|s|m|h)$/.exec(value) ?? [];
  if (!unit) throw new Error('expected a time, as 500ms, 30s or 2m');
  return Number(amount) * { us: 1, ms: 1e3, s: 1e6, m: 60e6, h: 3600e6 }[unit];
}

const NAMES = [...new Set(Object.keys(FIELDS).map((name) => name.split('[')[0]))];

function unknownField(full, name) {
  if (Object.hasOwn(ELSEWHERE, name)) return ELSEWHERE[name];
  if (Object.hasOwn(KEYS, name)) return `${name} wants a member: ${name}[${{ env: 'NAME', fd: '0' }[name] ?? '0'}]`;
  const near = NAMES.find((known) => distance(known, name) <= 2);
  return `no field is called ${full}` + (near ? `; did you mean ${near}?` : '');
}

// How many letters are to be changed, put in or left out.
function distance(a, b) {
  let before = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    before = row;
  }
  return before[b.length];
}

// What was typed into the search: a filter, or a text that is searched for. A filter with an error is one
// that begins with a field and an operator.
function interpret(typed, facts) {
  const text = typed.trim();
  if (!text) return { kind: 'none' };
  try {
    return { kind: 'filter', test: new Parser(typed, facts).parse() };
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    const begin = /^[\s(!]*(?:not\s+)?(?:(?:parent|ancestor|prev|ns)\.)?([a-z_]+)\s*(?:\[|!~|[<>=~]|!=|(?:not\s+)?(?:contains|startswith|endswith|glob|in)\s)/.exec(typed);
    const known = begin && [...NAMES, ...Object.keys(ELSEWHERE), 'mnt'].some((name) => distance(name, begin[1]) <= 1);
    if (known) return { kind: 'error', message: error.message, at: error.at };
  }
  const wanted = text.toLowerCase();
  return { kind: 'text', test: (row) => facts.line(row).toLowerCase().includes(wanted) };
}
