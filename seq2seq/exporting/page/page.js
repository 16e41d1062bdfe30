// The page around the model: it reads what is typed and shows what the model makes of it.
"use strict";

const WORDS = {
  Translation: {prompt: "Text to translate", verb: "Translate"},
  Tagging: {prompt: "Words to label", verb: "Label"},
  Classification: {prompt: "Text to classify", verb: "Classify"},
  Forecasting: {prompt: "Values so far", verb: "Forecast"},
  Generation: {prompt: "Condition", verb: "Write"},
};
const PAUSE = 300; // milliseconds without a key until the model is asked
const MOST_CLASSES = 12;
const page = Object.fromEntries(["form", "text", "go", "beam", "beam_box", "beam_label", "status", "spoken", "output",
  "prompt", "hint", "examples"].map(id => [id, document.getElementById(id)]));
let predictor = null, timer = 0, running = false, wanted = false;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Shown, and what a screen reader says.
function say(text, spoken, problem = false) {
  page.status.textContent = text;
  page.spoken.textContent = spoken;
  page.status.classList.toggle("problem", problem);
}

// --- loading ---------------------------------------------------------------------------------------------------------

// Bytes that were packed by gzip and written in base64: a page on the disk may not read other files.
async function unpacked(text) {
  const stream = new Blob([bytesOfBase64(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function load() {
  const glue = new Blob([await unpacked(RUNTIME.glue)], {type: "text/javascript"});
  Object.assign(ort.env.wasm, {numThreads: 1, proxy: false, wasmBinary: (await unpacked(RUNTIME.wasm)).buffer,
    wasmPaths: {mjs: URL.createObjectURL(glue)}});
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(await unpacked(MODEL.onnx), {executionProviders: ["wasm"]});
  return new Predictor(MODEL.description, session, ort.Tensor);
}

function prepare() {
  const {task, source, decoding, outputs} = MODEL.description;
  const words = WORDS[task] ?? {prompt: "Text", verb: "Predict"};
  page.prompt.textContent = task === "Generation" && !source ? "Beginning, which may be empty" : words.prompt;
  page.go.textContent = words.verb;
  const hint = hintOf(source);
  page.hint.textContent = hint;
  page.hint.hidden = !hint;
  if (predictor.searches && outputs === "hypotheses") {
    const sizes = [...new Set([1, 2, 3, 5, 10, decoding.beam_size])].sort((one, other) => one - other)
      .filter(size => 2 * size <= MODEL.description.target.sizes.reduce((one, other) => one * other) || size === 1);
    sizes.forEach(size => page.beam.add(new Option(size, size, false, size === decoding.beam_size)));
    page.beam_label.textContent = predictor.draws ? "Texts to draw" : "Beam size";
    page.beam_box.hidden = false;
  }
  for (const example of MODEL.examples) {
    const text = asTyped(example), button = element("button", "", text.replaceAll("\n", " ⏎ "));
    button.type = "button";
    button.addEventListener("click", () => {
      page.text.value = text;
      ask();
    });
    page.examples.append(button);
  }
  page.examples.hidden = !MODEL.examples.length;
  page.go.disabled = false;
}

function hintOf(source) {
  if (!source) return "";
  if (source.kind === "Vectors") return source.sizes[0] === 1 ? "Numbers, separated by spaces" : `${source.sizes[0]} numbers for each step, separated by spaces; one step in each line`;
  if (source.kind === "Columns" || source.kind === "RowFeatures") return "Columns, separated by tabs; a | will do";
  if (predictor.source.separator === "\t") return "Words, separated by spaces";
  return "";
}

// What was typed as the model reads it: in a field, tabs are hard to type.
function typed() {
  const {source} = MODEL.description, text = page.text.value;
  if (source?.kind === "Vectors") {
    const steps = source.sizes[0] === 1 ? wordsOf(text.replaceAll(",", " ")) : text.split(/[\n\t]/).filter(step => step.trim());
    return steps.join("\t");
  }
  if (source?.kind === "Columns" || source?.kind === "RowFeatures") return text.replaceAll(/ *\| */g, "\t");
  if (predictor.source?.separator === "\t" && !text.includes("\t")) return wordsOf(text).join("\t");
  return MODEL.description.target.kind === "Characters" && !source ? text : oneLine(text);
}

// A source as one would type it.
function asTyped(text) {
  const {source} = MODEL.description;
  if (source?.kind === "Vectors") return text.replaceAll("\t", source.sizes[0] === 1 ? " " : "\n");
  if (source?.kind === "Columns" || source?.kind === "RowFeatures") return text.replaceAll("\t", " | ");
  return predictor.source?.separator === "\t" && !text.includes(" ") ? text.replaceAll("\t", " ") : text;
}

// --- asking ----------------------------------------------------------------------------------------------------------

async function ask() {
  clearTimeout(timer);
  if (running) {
    wanted = true;
    return;
  }
  running = true;
  page.output.setAttribute("aria-busy", "true");
  try {
    const started = performance.now();
    const answer = await predictor.predict(typed(), Number(page.beam.value) || 1);
    const spoken = show(answer);
    say(`${Math.round(performance.now() - started)} ms in this page`, spoken);
  } catch (problem) {
    page.output.replaceChildren();
    const reason = problem instanceof TextError ? problem.message : `The model failed: ${problem.message}`;
    say(reason, reason, true);
  }
  page.output.setAttribute("aria-busy", "false");
  running = false;
  if (wanted) {
    wanted = false;
    ask();
  }
}

// Shows an answer; returns what a screen reader says of it.
function show({classes, forecast, hypotheses}) {
  if (classes) {
    page.output.replaceChildren(classTable(classes));
    return classes.slice(0, 3).map(one => `${one.label} ${percent(one.probability)}`).join(", ");
  }
  if (forecast) {
    page.output.replaceChildren(...forecastPicture(forecast));
    return forecast.text.replaceAll("\t", ", ");
  }
  if (!hypotheses.length) throw new TextError("The model has no prediction.");
  if (MODEL.description.task === "Tagging") {
    page.output.replaceChildren(...tagSpans(hypotheses));
    return [...page.output.querySelectorAll(".tags li")].map(item => [...item.children].map(one => one.textContent).join(" ")).join(", ");
  }
  const best = element("p", "answer", shown(hypotheses[0].text));
  best.dir = "auto";
  best.id = "answer";
  page.output.replaceChildren(best, ...alternatives(hypotheses));
  return best.textContent;
}

// --- showing ---------------------------------------------------------------------------------------------------------

function shown(text) {
  return text.replaceAll("\t", "  ") || "(empty)";
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function table(columns, rows) {
  const made = element("table"), head = made.createTHead().insertRow(), body = made.createTBody();
  for (const [text, kind] of columns) {
    const cell = element("th", kind, text);
    cell.scope = "col";
    head.append(cell);
  }
  body.append(...rows);
  return made;
}

// All hypotheses after the first one, with the scores that rank them.
function alternatives(hypotheses) {
  const score = one => one.score.toFixed(3).replace("-", "−");
  const rows = hypotheses.map((one, at) => {
    const row = element("tr"), text = element("td", "text", shown(one.text));
    text.dir = "auto";
    row.append(element("td", "number", at + 1), text, element("td", "number", score(one)));
    return row;
  });
  const title = element("p", "title", hypotheses.length > 1 ? "Alternatives" : "Score");
  const unit = MODEL.description.decoding.length_penalty ? "Nats for each token" : "Nats";
  return [title, table([["", "number"], ["Text", ""], [unit, "number"]], rows)];
}

// Each word above its label; spans of one kind have one colour.
function tagSpans(hypotheses) {
  const [best] = hypotheses, separator = predictor.source.separator, words = predictor.source.words ?? predictor.source;
  const tokens = separator === undefined ? [...typed()] : words.split(typed());
  const labels = best.tokens.map(id => predictor.target.decode([id]));
  const kinds = [...new Set(labels.map(kindOf))];
  const list = element("ul", "tags");
  tokens.forEach((token, at) => {
    const item = element("li"), label = labels[at] ?? "";
    if (label !== "O") {
      const goes = /^[IE]-/.test(label) && at > 0 && kindOf(labels[at - 1]) === kindOf(label);
      item.className = goes ? "marked joined" : "marked";
      item.style.setProperty("--tint", `var(--c${kinds.indexOf(kindOf(label)) % 8})`);
    }
    const share = Math.exp(best.tokenScores[at]);
    item.title = `${label}, probability ${share.toFixed(3)}`;
    item.append(element("span", "word", token), element("span", "label", label));
    list.append(item);
  });
  list.dir = "auto";
  const others = hypotheses.length > 1 ? alternatives(hypotheses) : [];
  return [element("p", "title", "Labels"), list, ...others];
}

// A label without what says where in its span it stands.
function kindOf(label) {
  return label.replace(/^[BIESLU]-/, "");
}

function classTable(classes) {
  const rows = classes.slice(0, MOST_CLASSES).map(one => {
    const row = element("tr", one.chosen ? "chosen" : ""), name = element("th", "", one.label);
    const track = element("td", "track"), bar = element("span", "bar");
    name.scope = "row";
    bar.style.width = `${100 * one.probability}%`;
    track.append(bar);
    row.append(name, track, element("td", "number", percent(one.probability)));
    return row;
  });
  return table([["Class", ""], ["", "track"], ["Probability", "number"]], rows);
}

function drawn(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The first number of each step, what was typed and what is forecast, with the outer quantiles as a band.
function forecastPicture(forecast) {
  const past = predictor.source.parse(typed()).map(step => step[0]).slice(-120);
  const levels = forecast.quantiles.map(rows => rows.map(step => step[0])), median = levels[forecast.median];
  const all = [...(levels[0].length && predictor.source.width === predictor.target.width ? past : []), ...levels.flat()];
  const low = Math.min(...all), high = Math.max(...all), span = high - low || 1, steps = past.length + median.length;
  const [width, height, left, top] = [Math.max(320, page.output.clientWidth), 260, 8, 14];
  const x = at => left + at / Math.max(1, steps - 1) * (width - 2 * left);
  const y = value => top + (high - value) / span * (height - 2 * top - 12);
  const line = (values, start) => values.map((value, at) => `${at ? "L" : "M"}${x(start + at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const svg = drawn("svg", {class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `${past.length} values, then ${median.length} forecast from ${rounded(median[0])} to ${rounded(median[median.length - 1])}`});
  for (const value of [low, (low + high) / 2, high]) {
    svg.append(drawn("line", {class: "grid", x1: left, x2: width - left, y1: y(value), y2: y(value)}),
      drawn("text", {x: left, y: y(value) - 3}, rounded(value)));
  }
  if (levels.length > 1) {
    const upper = levels[levels.length - 1], lower = [...levels[0]].reverse();
    const back = lower.map((value, at) => `L${x(steps - 1 - at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    svg.append(drawn("path", {class: "band", d: `${line(upper, past.length)}${back}Z`}));
  }
  const comparable = predictor.source.width === predictor.target.width;
  if (comparable) svg.append(drawn("path", {class: "past", d: line(past, 0)}));
  const joined = comparable ? [past[past.length - 1], ...median] : median;
  svg.append(drawn("path", {class: "future", d: line(joined, steps - joined.length)}),
    drawn("line", {class: "now", x1: x(past.length - 0.5), x2: x(past.length - 0.5), y1: top, y2: height - top - 12}),
    drawn("text", {x: left, y: height - 4}, "known"), drawn("text", {x: width - left, y: height - 4, "text-anchor": "end"}, "forecast"));
  const answer = element("p", "answer", forecast.text.replaceAll("\t", MODEL.description.target.sizes[0] === 1 ? " " : "\n"));
  answer.id = "answer";
  const outer = forecast.levels.length > 1
    ? [element("p", "note", `The line is the median; the band reaches from the quantile ${forecast.levels[0]} to ${forecast.levels[forecast.levels.length - 1]}.`)]
    : [];
  return [svg, ...outer, element("p", "title", "Forecast"), answer];
}

function rounded(value) {
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

// --- events ----------------------------------------------------------------------------------------------------------

page.form.addEventListener("submit", event => {
  event.preventDefault();
  if (predictor) ask();
});
page.text.addEventListener("keydown", event => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || MODEL.description.source?.kind === "Vectors") return;
  event.preventDefault();
  if (predictor) ask();
});
page.text.addEventListener("input", () => {
  clearTimeout(timer);
  if (predictor && !predictor.draws) timer = setTimeout(ask, PAUSE);
});
page.beam.addEventListener("change", () => ask());

load().then(made => {
  predictor = made;
  prepare();
  say("Ready.", "Ready.");
  if (page.text.value) ask();
}, problem => {
  const reason = `The model cannot be loaded: ${problem.message}`;
  say(reason, reason, true);
});
