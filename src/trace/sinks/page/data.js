// The events as they were written: src/trace/html/encode.rs tells how.

// The places of an exec's line.
const EXEC = Object.fromEntries([
  'kind', 'id', 'came', 'parent', 'pid', 'tid', 'ppid', 'depth', 'time', 'began', 'result', 'error', 'at',
  'flags', 'compat', 'uid', 'gid', 'ids', 'comm', 'prevComm', 'filename', 'argv', 'added', 'removed', 'cwd',
  'exe', 'interpreters', 'cgroup', 'fds', 'pidNamespace', 'mountNamespace', 'faults', 'commandLine', 'lacking',
].map((name, at) => [name, at]));

const BASE64_CHUNK = 1 << 20;

class Trace {
  constructor() {
    this.strings = [];
    this.lists = [];
    this.events = [];
    this.about = null;
    this.end = null;
  }

  string(at) {
    return at < 0 ? undefined : this.strings[at];
  }

  list(at) {
    return at < 0 ? undefined : this.lists[at];
  }

  // A list of strings; one that is not known is undefined.
  stringsOf(at) {
    return this.list(at)?.map((string) => this.string(string));
  }

  take(line) {
    const value = JSON.parse(line);
    if (typeof value === 'string') {
      this.strings.push(value);
      return;
    }
    switch (value[0]) {
      case 0:
        value.shift();
        this.lists.push(value);
        break;
      case 8:
        this.about = this.readAbout(value);
        break;
      case 9:
        this.end = {
          status: value[1] < 0 ? undefined : value[1],
          signal: this.string(value[2]),
          time: value[3],
          lostEvents: value[4],
          lostProcesses: value[5],
        };
        break;
      default:
        this.events.push(value);
    }
  }

  readAbout([, command, version, source, host, wall, env, cwd, fds]) {
    return {
      command: this.stringsOf(command),
      version: this.string(version),
      source: this.string(source),
      host: this.string(host),
      wall,
      env: this.stringsOf(env),
      cwd: this.string(cwd),
      fds: this.descriptors(fds),
    };
  }

  descriptors(at) {
    return this.list(at)?.map((fd) => {
      const [number, target, kind, flags, closeOnExec, position, mount, inode, fileSystem, faults] =
        this.list(fd);
      return {
        number, target: this.string(target), kind: this.string(kind), flags, closeOnExec: !!closeOnExec,
        position, mount, inode: this.string(inode), fileSystem: this.string(fileSystem),
        faults: this.string(faults)?.slice(1),
      };
    });
  }
}

// Base64 in pieces, so that no text is as large as the whole.
function decoded(base64) {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      const piece = base64.slice(at, at + BASE64_CHUNK);
      at += BASE64_CHUNK;
      // What was cut off may end within a group.
      const whole = piece.slice(0, piece.length - (piece.length % 4));
      if (!whole) return controller.close();
      const text = atob(whole);
      const chunk = new Uint8Array(text.length);
      for (let i = 0; i < text.length; i++) chunk[i] = text.charCodeAt(i);
      controller.enqueue(chunk);
    },
  });
}

// Reads what is embedded. Where that was cut off, what there is.
async function readTrace(base64) {
  const trace = new Trace();
  const reader = decoded(base64).pipeThrough(new DecompressionStream('gzip')).getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
      rest = lines.pop();
      for (const line of lines) if (line) trace.take(line);
    }
  } catch (error) {
    // Without an end it is known to be cut off; with one, the error is ours.
    if (trace.end || !trace.about) throw error;
  }
  return trace;
}
