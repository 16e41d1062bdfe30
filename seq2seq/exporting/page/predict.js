// A text to the model's inputs, and its outputs to answers; what the file says of itself is in docs/export.md.
"use strict";

class Predictor {
  // description: the file's own; session: of onnxruntime-web, whose tensors are made by Tensor.
  constructor(description, session, Tensor) {
    this.description = description;
    this.session = session;
    this.Tensor = Tensor;
    this.source = description.source && tokenizerOf(description.source);
    this.target = tokenizerOf(description.target);
    this.names = session.inputNames;
    this.draws = this.names.includes("numbers");
    this.searches = this.draws || this.names.includes("room");
  }

  // beam: hypotheses to keep, or texts to draw; random: makes the numbers that tokens are drawn from.
  async predict(text, beam = this.description.decoding.beam_size, random = Math.random) {
    const read = this.source ? this.sourceOf(text) : this.promptOf(text);
    const limit = this.description.limits ? this.limitOf(read.length) : read.length + 1;
    const {decoding, target} = this.description;
    const whole = (value, ...shape) => this.integers([value], shape);
    const real = value => new this.Tensor("float32", Float32Array.of(value), []);
    const given = {
      ...read.inputs,
      lengths: whole(read.length, 1),
      limits: whole(limit, 1),
      min_length: whole(decoding.min_length),
      length_penalty: real(decoding.length_penalty),
      temperature: real(decoding.temperature ?? 1),
      top_k: whole(decoding.top_k || target.sizes.reduce((one, other) => one * other)),
      top_p: real(decoding.top_p || 2),
      room: new this.Tensor("float32", new Float32Array(beam * limit), [beam, limit]),
      numbers: new this.Tensor("float32", Float32Array.from({length: this.draws ? beam * limit : 0}, random),
        [1, this.draws ? beam : 0, limit]),
    };
    const found = await this.session.run(Object.fromEntries(this.names.map(name => [name, given[name]])));
    const kind = this.description.outputs;
    if (kind === "logits") return {read, classes: this.classesOf(found.logits)};
    if (kind === "forecasts") return {read, forecast: this.forecastOf(found.forecasts)};
    return {read, hypotheses: this.hypothesesOf(found, read.prompt ?? [])};
  }

  integers(values, shape) {
    return new this.Tensor("int64", BigInt64Array.from(values, BigInt), shape);
  }

  // --- inputs --------------------------------------------------------------------------------------------------------

  sourceOf(text) {
    const blank = this.description.task === "Tagging" ? /^[ \t\r\n]*$/ : /^\s*$/;
    if (blank.test(text)) throw new TextError("");
    const {source_end, max_length, keep_last_steps} = this.description;
    const most = max_length === null ? Infinity : max_length - source_end;
    const kept = list => list.length <= most ? list : keep_last_steps ? list.slice(-most) : list.slice(0, most);
    if (this.source instanceof Spelled) return this.spelledOf(text, most);
    if (this.source instanceof Vectors) {
      const season = this.description.settings.season ?? 1, steps = kept(this.source.encode(text));
      if (steps.length < season) throw new TextError(`There are ${steps.length} steps, but ${season} are needed.`);
      const flat = Float32Array.from(steps.flatMap(step => [...step]));
      return {inputs: {source: new this.Tensor("float32", flat, [1, steps.length, this.source.width])}, length: steps.length};
    }
    const ids = [...kept(this.source.encode(text)), ...(source_end ? [EOS] : [])];
    if (!ids.length) throw new TextError("The model reads nothing of this text.");
    return {inputs: {source: this.integers(ids, [1, ids.length])}, length: ids.length};
  }

  // The different words, and the number of each at its place; the last may lack letters, and is left out if it lacks more.
  spelledOf(text, most) {
    let left = most;
    const rows = this.source.rows(text).map(row => {
      const read = row.slice(0, left);
      left -= read.length;
      return read;
    }).filter(row => row.length >= this.source.heads);
    if (!rows.length) throw new TextError("The model reads nothing of this text.");
    const keys = rows.map(row => row.join(" ")), different = [...new Set(keys)];
    const width = rows.reduce((widest, row) => Math.max(widest, row.length), 0);
    const words = different.flatMap(key => {
      const ids = key.split(" ").map(Number);
      return [...ids, ...new Array(width - ids.length).fill(PAD)];
    });
    return {
      inputs: {
        source: this.integers(keys.map(key => different.indexOf(key)), [1, rows.length]),
        words: this.integers(words, [different.length, width]),
      },
      length: rows.length,
    };
  }

  // The tokens that a text begins with, where the model reads no source.
  promptOf(text) {
    const ids = text ? this.target.encode(text) : [];
    const unknown = id => id % this.description.target.sizes[0] === UNK;
    if (ids.some(unknown)) throw new TextError("The model does not know all letters or words of this beginning.");
    const prompt = [this.description.settings.begin, ...ids];
    return {inputs: {prompt: this.integers(prompt, [1, prompt.length])}, length: 0, prompt: ids};
  }

  // The most tokens of a prediction for a source of so many.
  limitOf(length) {
    const {ratio, rounded, offset, least, most} = this.description.limits, steps = Math.max(length, 1);
    const product = rounded === "up" ? Math.ceil(ratio * steps) : Math.floor(Math.fround(Math.fround(ratio) * steps));
    return Math.min(most ?? Infinity, Math.max(least ?? 0, product + offset));
  }

  // --- outputs -------------------------------------------------------------------------------------------------------

  hypothesesOf(found, prompt) {
    const [, count, longest] = found.tokens.dims, ends = this.description.target_end;
    const rows = [];
    for (let row = 0; row < count; row++) {
      const score = found.scores.data[row], length = Number(found.counts.data[row]);
      if (score === -Infinity) continue; // there is no such hypothesis
      const first = row * longest, tokens = Array.from(found.tokens.data.slice(first, first + length), Number);
      const tokenScores = Array.from(found.token_scores.data.slice(first, first + length + ends));
      rows.push({text: this.target.decode([...prompt, ...tokens]), score, tokens, tokenScores});
    }
    return rows;
  }

  // The label and probability of each class, likeliest first, and whether it is chosen.
  classesOf(logits) {
    const values = Array.from(logits.data), several = this.description.settings.multi_label;
    const highest = Math.max(...values), sum = values.reduce((total, value) => total + Math.exp(value - highest), 0);
    const share = value => several ? 1 / (1 + Math.exp(-value)) : Math.exp(value - highest) / sum;
    return values.map((value, at) => ({
      label: this.target.decode([SPECIAL + at]), probability: share(value), logit: value,
      chosen: several ? value > 0 : value === highest,
    })).sort((one, other) => other.logit - one.logit);
  }

  // The median as text, and the numbers of each quantile: steps of rows.
  forecastOf(forecasts) {
    const [, steps, width, levels] = forecasts.dims;
    const quantiles = Array.from({length: levels}, (_, level) => Array.from({length: steps}, (_, step) =>
      Array.from({length: width}, (_, at) => forecasts.data[(step * width + at) * levels + level])));
    const median = this.description.settings.median;
    return {
      text: this.target.decode(quantiles[median]),
      levels: this.description.settings.quantiles,
      quantiles: quantiles.map(rows => this.target.values(rows)),
      median,
    };
  }
}
