// Texts to ids and back, as seq2seq/data/tokenizers/ does it: equal for every text, which a test compares.
//
// A tokenizer is described by its kind, its settings and its state (docs/export.md). All of them have
//   encode(text)  ids, or of Vectors the rows of normalised numbers
//   decode(ids)   text
//   size          of the vocabulary, features included
// and raise TextError for a text that they cannot read.
"use strict";

const PAD = 0, UNK = 1, BOS = 2, EOS = 3, SPECIAL = 4;

class TextError extends Error {}

function tokenizerOf(described) {
  return makeTokenizer(described.kind, described.settings, bytesOfBase64(described.state));
}

function makeTokenizer(path, settings, state) {
  const kind = path.split(".").pop();
  if (!Object.hasOwn(TOKENIZERS, kind)) throw new TextError(`This page knows no tokenizer ${kind}.`);
  return new TOKENIZERS[kind](settings, state);
}

// --- bytes and strings -----------------------------------------------------------------------------------------------

function bytesOfBase64(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
  return bytes;
}

function jsonOf(bytes) {
  return JSON.parse(new TextDecoder().decode(bytes));
}

// The states that one state joins.
function statesOf(bytes) {
  return jsonOf(bytes).map(bytesOfBase64);
}

// The text with spaces for its line breaks, which are those of Python's splitlines.
function oneLine(text) {
  const lines = text.split(/\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]/);
  if (lines[lines.length - 1] === "") lines.pop();
  return lines.join(" ");
}

// The words of Python's split().
function wordsOf(text) {
  return text.split(/[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/).filter(Boolean);
}

// --- units from a list -----------------------------------------------------------------------------------------------

class Listed {
  constructor(settings, state) {
    this.settings = settings;
    this.units = jsonOf(state);
    this.ids = new Map(this.units.map((unit, at) => [unit, SPECIAL + at]));
    this.size = SPECIAL + this.units.length;
  }

  encode(text) {
    return this.split(text).map(unit => this.ids.get(unit) ?? UNK);
  }

  decode(ids) {
    const shown = ids.filter(id => id === UNK || id >= SPECIAL);
    return oneLine(this.join(shown.map(id => id === UNK ? this.unknown : this.units[id - SPECIAL])));
  }
}

class Characters extends Listed {
  unknown = "\ufffd";

  split(text) {
    return [...(this.settings.normalization ? text.normalize(this.settings.normalization) : text)];
  }

  join(units) {
    return this.settings.normalization ? units.join("").normalize("NFC") : units.join("");
  }
}

class Separated extends Listed {
  unknown = "<unk>";

  get separator() {
    return this.settings.separator;
  }

  split(text) {
    return text.split(this.separator).filter(Boolean);
  }

  join(units) {
    return units.join(this.separator);
  }
}

class NoSource {
  size = SPECIAL;

  encode() {
    return [];
  }

  decode() {
    return "";
  }
}

// --- columns and features --------------------------------------------------------------------------------------------

class Columns {
  constructor(settings, state) {
    const states = statesOf(state);
    this.single = settings.single;
    this.parts = settings.parts.map((part, at) => makeTokenizer(part.class_path, part.init_args, states[at]));
    this.starts = [SPECIAL]; // the first id of each part, and at the end the size
    for (const part of this.parts) this.starts.push(this.starts[this.starts.length - 1] + part.size - SPECIAL);
    this.between = settings.single === "between"; // the first column is read between two copies of the others
    this.alone = this.between || settings.single === "first" ? 0 : this.parts.length - 1; // the column of a text without tabs
    this.size = this.starts[this.parts.length];
  }

  encode(text) {
    const row = text.split("\t"), count = this.parts.length;
    if (row.length !== count) {
      throw new TextError(`There are ${row.length} columns between tabs, but ${count} are expected.`);
    }
    const own = row.map((column, at) => this.parts[at].encode(column)
      .map(id => id >= SPECIAL ? id + this.starts[at] - SPECIAL : id));
    return [...(this.between ? own.slice(1) : []), ...own].flat();
  }

  decode(ids) {
    const alone = this.alone, columns = this.parts.map(() => []);
    const isOwn = id => id >= this.starts[alone] && id < this.starts[alone + 1];
    const lone = this.single && ids.every(id => id < SPECIAL || isOwn(id));
    if (this.between && !lone) ids = ids.slice(Math.max(0, ids.findIndex(isOwn)));
    let column = lone ? alone : 0; // an unknown belongs to the column of the token before it
    for (const id of ids) {
      if (id >= SPECIAL) column = this.starts.findLastIndex(start => start <= id);
      columns[column].push(id >= SPECIAL ? id - this.starts[column] + SPECIAL : id);
    }
    const texts = this.parts.map((part, at) => part.decode(columns[at]));
    return lone ? texts[alone] : texts.map(text => text.replaceAll("\t", " ")).join("\t");
  }
}

const FIRST = 2; // the number of a feature's first value

class Features {
  constructor(settings, state) {
    const [text, ...values] = statesOf(state);
    this.count = settings.features;
    this.text = makeTokenizer(settings.text.class_path, settings.text.init_args, text);
    this.names = values.map(jsonOf);
    this.numbers = this.names.map(names => new Map(names.map((name, at) => [name, FIRST + at])));
    this.size = this.names.reduce((size, names) => size * (FIRST + names.length), this.text.size);
  }

  // What is added to the id of a token with these features.
  shift(values) {
    let code = 0;
    for (let at = this.count - 1; at >= 0; at--) {
      code = code * (FIRST + this.names[at].length) + (this.numbers[at].get(values[at]) ?? UNK);
    }
    return code * this.text.size;
  }

  // The features of an id as they are shown.
  values(id) {
    let code = Math.floor(id / this.text.size);
    return this.names.map(names => {
      const count = FIRST + names.length, value = code % count;
      code = Math.floor(code / count);
      return value >= FIRST ? oneLine(names[value - FIRST]) : value === UNK ? "<unk>" : "";
    });
  }
}

class RowFeatures extends Features {
  constructor(settings, state) {
    super(settings, state);
    this.tabs = this.text instanceof Columns || this.text.separator === "\t";
  }

  encode(text) {
    const columns = text.split("\t"), values = columns.slice(0, this.count), alone = columns.slice(this.count);
    if (!alone.length || (alone.length > 1 && !this.tabs)) {
      throw new TextError(`There are ${columns.length} columns between tabs, but ${this.count + 1} are expected.`);
    }
    const more = this.shift(values);
    return this.text.encode(alone.join("\t")).map(id => id + more);
  }

  decode(ids) {
    const text = this.text.decode(ids.map(id => id % this.text.size));
    const values = this.values(ids.find(id => id >= this.text.size) ?? PAD);
    return [...values, this.tabs ? text : text.replaceAll("\t", " ")].join("\t");
  }
}

class TokenFeatures extends Features {
  constructor(settings, state) {
    super(settings, state);
    this.divider = settings.divider;
    this.separator = this.text.separator;
  }

  encode(text) {
    return this.text.split(text).map(token => {
      const [word, ...values] = token.split(this.divider);
      if (values.length !== this.count || !word) {
        throw new TextError(`${token} must be a word with ${this.count} features, each after a ${this.divider}.`);
      }
      return this.text.encode(word)[0] + this.shift(values);
    });
  }

  decode(ids) {
    const shown = ids.filter(id => id % this.text.size === UNK || id % this.text.size >= SPECIAL);
    return this.text.join(shown.map(id => [this.text.decode([id % this.text.size]), ...this.values(id)].join(this.divider)));
  }
}

// --- words with all that can be seen of them -------------------------------------------------------------------------

class Spelled {
  constructor(settings, state) {
    const [words, tables] = jsonOf(state), kept = settings.words;
    this.words = makeTokenizer(kept.class_path, kept.init_args, new TextEncoder().encode(words));
    this.settings = settings;
    this.separator = this.words.separator;
    this.extra = new Map(tables[0].map((word, at) => [word, this.words.size + at]));
    this.tables = tables.slice(1).map(units => new Map(units.map((unit, at) => [unit, 1 + at])));
    this.sizes = [this.words.size + this.extra.size, ...this.tables.map(table => 1 + table.size)];
    this.starts = []; // the first id of each kind besides the words: shapes, ends, letters
    for (let at = 1, sum = this.sizes[0]; at < this.sizes.length; sum += this.sizes[at++]) this.starts.push(sum);
    this.size = this.sizes.reduce((sum, size) => sum + size, 0);
    this.heads = this.tables.length; // ids of a word besides those of its letters
  }

  // For each word its own id, that of its shape, of its beginnings and endings, and of its letters.
  rows(text) {
    return this.words.split(text).map(word => {
      const letters = [...word], own = this.words.encode(word)[0];
      const sizes = Array.from({length: this.settings.affixes}, (_, at) => at + 1);
      const looks = [shapeOf(letters), ...sizes.map(size => letters.slice(0, size).join("")),
        ...sizes.map(size => letters.slice(-size).join(""))];
      const ids = [own === UNK ? this.extra.get(word) ?? UNK : own,
        ...looks.map((seen, at) => this.starts[at] + (this.tables[at].get(seen) ?? 0))];
      if (!this.settings.letters) return ids;
      const longest = this.settings.longest, half = Math.floor(longest / 2);
      const kept = letters.length <= longest ? letters : [...letters.slice(0, longest - half), ...letters.slice(-half)];
      const table = this.tables[looks.length], start = this.starts[looks.length];
      return [...ids, ...kept.map(letter => start + (table.get(letter) ?? 0))];
    });
  }

  encode(text) {
    return this.rows(text).flat();
  }
}

// How a word is written: X for capitals, x for other letters, 9 for digits; a run of several is doubled.
function shapeOf(letters) {
  const kinds = letters.slice(0, 64).map(letter =>
    /^[\p{Lu}\p{Lt}]$/u.test(letter) ? "X" : /^[\p{L}\p{M}]$/u.test(letter) ? "x" : /^\p{N}$/u.test(letter) ? "9" : letter);
  return kinds.filter((kind, at) => kind !== kinds[at - 1] || kind !== kinds[at - 2]).join("");
}

// --- numbers ---------------------------------------------------------------------------------------------------------

class Vectors {
  constructor(settings, state) {
    const learnt = jsonOf(state);
    this.mean = learnt.mean;
    this.deviation = learnt.deviation;
    this.width = this.mean.length;
    this.shortest = learnt.steps[0];
  }

  // The numbers of each step.
  parse(text) {
    const steps = text.split("\t").map(wordsOf);
    if (!wordsOf(text).length) throw new TextError("There are no numbers.");
    return steps.map((words, step) => {
      if (words.length !== this.width) {
        throw new TextError(`Step ${step + 1} has ${words.length} numbers where ${this.width} are expected.`);
      }
      return words.map(word => {
        const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(word) ? Number(word) : NaN;
        if (!Number.isFinite(value)) throw new TextError(`Step ${step + 1} holds ${word}, which is not a number.`);
        return value;
      });
    });
  }

  encode(text) {
    return this.parse(text).map(step =>
      Float32Array.from(step, (value, at) => (value - this.mean[at]) / this.deviation[at]));
  }

  // The real numbers of normalised ones, without the digits that 32 bits do not hold.
  values(rows) {
    const units = this.deviation.map(one => Number(`1e${Math.max(6 - Math.floor(Math.log10(one)), 0)}`));
    return rows.map(row => Array.from(row, (value, at) =>
      halfEven((value * this.deviation[at] + this.mean[at]) * units[at]) / units[at] + 0));
  }

  decode(rows) {
    const values = this.values(rows), flat = values.flat();
    const whole = flat.every(Number.isInteger) && flat.every(value => Math.abs(value) < 2 ** 53);
    return values.map(row => row.map(value => whole ? String(value) : written(value)).join(" ")).join("\t");
  }
}

// Rounded, a half to the even neighbour.
function halfEven(value) {
  const near = Math.round(value);
  return Math.abs(value % 1) === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

// A number as numpy writes it, with the fewest digits that tell it apart.
function written(value) {
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-4 || size >= 1e16)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

// --- SentencePiece ---------------------------------------------------------------------------------------------------

const SPACE = "\u2581"; // how a piece writes a space
const NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, BYTE = 6;
const ESCAPE = "\uf8f0", HIDDEN = {"\u2581": "\uf8f1", "\u2585": "\uf8f2", "\x00": "\uf8f3"};
const SHOWN = Object.fromEntries(Object.entries(HIDDEN).map(([letter, other]) => [other, letter]));

// A text without letters that mean something to the model.
function escaped(text) {
  return text.replace(/[\u2581\u2585\x00\uf8f0-\uf8f7]/g,
    letter => HIDDEN[letter] ?? ESCAPE + String.fromCharCode(letter.charCodeAt(0) + 8));
}

function unescaped(text) {
  return text.replace(/\uf8f0([\uf8f8-\uf8ff])|([\uf8f1-\uf8f3])/g,
    (_, own, hidden) => own ? String.fromCharCode(own.charCodeAt(0) - 8) : SHOWN[hidden]);
}

// The fields of a message of Protocol Buffers: pairs of number and value, which is a number or bytes.
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0, scale = 1, byte;
    do {
      byte = bytes[at++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte & 128);
    return value;
  };
  while (at < bytes.length) {
    const key = varint(), kind = key % 8, size = kind === 2 ? varint() : kind === 5 ? 4 : kind === 1 ? 8 : 0;
    yield [Math.floor(key / 8), kind === 0 ? varint() : bytes.subarray(at, at += size)];
  }
}

function floatOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
}

class SentencePiece {
  constructor(settings, state) {
    const utf8 = new TextDecoder("utf-8", {ignoreBOM: true});
    Object.assign(this, {pieces: [], scores: [], types: [], unigram: true, byteFallback: false, unknownText: " \u2047 ",
      charsmap: null, dummyPrefix: true, squeeze: true, escapeSpaces: true});
    for (const [field, value] of fieldsOf(state)) {
      if (field === 1) this.addPiece(value, utf8);
      if (field === 2) {
        for (const [inner, of] of fieldsOf(value)) {
          if (inner === 3) this.unigram = of === 1;
          if (inner === 35) this.byteFallback = of === 1;
          if (inner === 44) this.unknownText = utf8.decode(of);
        }
      }
      if (field === 3) {
        for (const [inner, of] of fieldsOf(value)) {
          if (inner === 2 && of.length) this.charsmap = new Charsmap(of);
          if (inner === 3) this.dummyPrefix = of === 1;
          if (inner === 4) this.squeeze = of === 1;
          if (inner === 5) this.escapeSpaces = of === 1;
        }
      }
    }
    this.size = this.pieces.length;
    this.unknown = this.types.indexOf(UNKNOWN);
    this.whole = this.pieces[UNK] === "\uf8f5"; // models of older checkpoints do not keep every text whole
    const ranked = this.scores.filter((_, id) => this.types[id] === NORMAL);
    this.lowest = ranked.reduce((one, other) => Math.min(one, other), Infinity);
    this.highest = ranked.reduce((one, other) => Math.max(one, other), -Infinity);
    this.ids = new Map();
    this.bytes = new Map();
    this.types.forEach((type, id) => {
      if (type === BYTE) this.bytes.set(parseInt(this.pieces[id].slice(3, 5), 16), id);
      if (type === NORMAL || type === USER_DEFINED) this.ids.set(this.pieces[id], id);
    });
    this.trie = new Map(); // letter by letter; under "" the id of the piece that ends there
    for (const [piece, id] of this.ids) {
      let node = this.trie;
      for (const letter of piece) {
        if (!node.has(letter)) node.set(letter, new Map());
        node = node.get(letter);
      }
      node.set("", id);
    }
  }

  addPiece(bytes, utf8) {
    let piece = "", score = 0, type = NORMAL;
    for (const [field, value] of fieldsOf(bytes)) {
      if (field === 1) piece = utf8.decode(value);
      if (field === 2) score = floatOf(value);
      if (field === 3) type = value;
    }
    this.pieces.push(piece);
    this.scores.push(score);
    this.types.push(type);
  }

  encode(text) {
    const letters = [...this.normalized(this.whole ? escaped(text) : text)];
    const found = this.unigram ? this.mostProbable(letters) : this.merged(letters);
    const ids = [];
    let before = false; // a run of unknown letters is one id
    for (const [piece, id] of found) {
      const unknown = id === this.unknown;
      if (unknown && this.byteFallback) {
        for (const byte of new TextEncoder().encode(piece)) ids.push(this.bytes.get(byte));
      } else if (!unknown || !before) {
        ids.push(id);
      }
      before = unknown;
    }
    return ids;
  }

  // The text as the model reads it: letters replaced, spaces squeezed and written as ▁.
  normalized(text) {
    const space = this.escapeSpaces ? SPACE : " ";
    let whole = this.charsmap ? this.charsmap.replaced(text) : text;
    if (this.squeeze) whole = whole.replace(/^ +| +$/g, "").replace(/ +/g, " ");
    if (!whole) return "";
    const marked = (this.dummyPrefix ? space : "") + (this.escapeSpaces ? whole.replaceAll(" ", SPACE) : whole);
    return this.squeeze && this.escapeSpaces ? marked.replace(/\u2581+$/, "") : marked;
  }

  // Viterbi over the pieces of a unigram model (Kudo 2018), with scores of 32 bits.
  mostProbable(letters) {
    const count = letters.length, best = new Float32Array(count + 1);
    const from = new Int32Array(count + 1).fill(-1), by = new Int32Array(count + 1);
    const lost = Math.fround(this.lowest - 10);
    const reach = (end, start, id, score) => {
      if (from[end] === -1 || score > best[end]) {
        best[end] = score;
        from[end] = start;
        by[end] = id;
      }
    };
    for (let start = 0; start < count; start++) {
      let node = this.trie, single = false;
      for (let end = start; end < count; end++) {
        node = node.get(letters[end]);
        if (node === undefined) break;
        const id = node.get("");
        if (id === undefined) continue;
        const own = this.types[id] === USER_DEFINED
          ? new TextEncoder().encode(letters.slice(start, end + 1).join("")).length * this.highest - 0.1
          : this.scores[id];
        reach(end + 1, start, id, Math.fround(Math.fround(own) + best[start]));
        single ||= end === start;
      }
      if (!single) reach(start + 1, start, this.unknown, Math.fround(lost + best[start]));
    }
    const found = [];
    for (let end = count; end > 0; end = from[end]) found.push([letters.slice(from[end], end).join(""), by[end]]);
    return found.reverse();
  }

  // The merges of a BPE model, the best one first (Sennrich et al. 2016).
  merged(letters) {
    const symbols = [...letters];
    const rank = at => this.ids.get(symbols[at] + symbols[at + 1]);
    const ranks = symbols.slice(1).map((_, at) => rank(at));
    for (;;) {
      let chosen = -1;
      ranks.forEach((id, at) => {
        if (id !== undefined && (chosen < 0 || this.scores[id] > this.scores[ranks[chosen]])) chosen = at;
      });
      if (chosen < 0) break;
      symbols.splice(chosen, 2, symbols[chosen] + symbols[chosen + 1]);
      ranks.splice(chosen, 1);
      for (const at of [chosen - 1, chosen]) if (at >= 0 && at < ranks.length) ranks[at] = rank(at);
    }
    return symbols.map(symbol => [symbol, this.ids.get(symbol) ?? this.unknown]);
  }

  decode(ids) {
    let text = "", bytes = [], begins = true, dropped = false;
    for (const id of ids) {
      if (this.types[id] === BYTE) {
        bytes.push(parseInt(this.pieces[id].slice(3, 5), 16));
        continue;
      }
      text += lettersOf(bytes);
      bytes = [];
      if (dropped || text) begins = false;
      dropped = false;
      if (this.types[id] === CONTROL) continue;
      if (id === this.unknown) {
        text += this.unknownText;
        continue;
      }
      let piece = this.pieces[id];
      if (begins && (this.dummyPrefix || this.squeeze) && piece.startsWith(SPACE)) {
        piece = piece.slice(1); // the space before the first word
        dropped = !this.squeeze;
      }
      text += piece.replaceAll(SPACE, " ");
    }
    text += lettersOf(bytes);
    return oneLine(this.whole ? unescaped(text) : text);
  }
}

// The letters of UTF-8, with U+FFFD for each byte that belongs to none.
function lettersOf(bytes) {
  const strict = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true});
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const first = bytes[at], size = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    try {
      text += strict.decode(Uint8Array.from(bytes.slice(at, at + size)));
      at += size;
    } catch {
      text += "\ufffd";
      at++;
    }
  }
  return text;
}

// A normalisation map: a trie of byte strings (a double array of darts-clone) with what replaces each.
class Charsmap {
  constructor(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), size = view.getUint32(0, true);
    this.units = Uint32Array.from({length: size / 4}, (_, at) => view.getUint32(4 + 4 * at, true));
    this.texts = bytes.subarray(4 + size);
  }

  // The text with the longest entry at each place replaced.
  replaced(text) {
    const bytes = new TextEncoder().encode(text), result = [];
    for (let at = 0; at < bytes.length;) {
      const [length, value] = this.longest(bytes, at);
      if (length) {
        for (let place = value; this.texts[place]; place++) result.push(this.texts[place]);
        at += length;
        continue;
      }
      do result.push(bytes[at++]); while ((bytes[at] & 0xc0) === 0x80); // one letter as it is
    }
    return new TextDecoder("utf-8", {ignoreBOM: true}).decode(Uint8Array.from(result));
  }

  longest(bytes, start) {
    const offset = unit => (unit >>> 10) << ((unit & 0x200) >>> 6);
    let node = offset(this.units[0]), found = [0, 0];
    for (let at = start; at < bytes.length; at++) {
      node ^= bytes[at];
      const unit = this.units[node];
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== bytes[at]) break;
      node ^= offset(unit);
      if ((unit >>> 8) & 1) found = [at + 1 - start, this.units[node] & 0x7fffffff];
    }
    return found;
  }
}

const TOKENIZERS = {Characters, Words: Separated, Labels: Separated, NoSource, Columns, RowFeatures, TokenFeatures, Spelled,
  Vectors, SentencePiece};
