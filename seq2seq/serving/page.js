// Ask a served model and show what it says. Nothing is loaded from elsewhere, and no text is ever read as markup.
"use strict";

const $ = id => document.getElementById(id);
const MOST = 64, NEAREST = 5, KEPT = 500;
let models = [], model = null, session = null, begun = "";
const asked = new Map();  // of each model the texts so far with their vectors

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made && key !== "list") made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function drawn(name, properties = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const percent = share => share >= 0.9995 ? "100 %" : share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
const chance = one => Math.exp(one.token_scores.reduce((sum, score) => sum + (score ?? -Infinity), 0));

// Talking to the server.

async function send(path, body) {
  const headers = {"content-type": "application/json"};
  const token = $("token").value || sessionStorage.getItem("token");
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, body === undefined ? {headers} : {method: "POST", headers, body: JSON.stringify(body)});
  } catch {
    throw new Error("the server cannot be reached; is it still running?");
  }
  if (response.status === 401) {
    $("secret").hidden = false;
    $("token").focus();
    throw new Error("this server wants its token");
  }
  if (token) sessionStorage.setItem("token", token);
  if (!response.ok) throw new Error((await response.json()).error);
  return response;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = "";;) {
    const {value, done} = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [kind, data] = block.split("\n").map(line => line.slice(line.indexOf(": ") + 2));
      yield [kind, JSON.parse(data)];
    }
  }
}

// What is asked.

function settings() {
  const given = {};
  for (const name of ["beam_size", "max_length", "temperature", "seed"]) {
    if (model.searches && $(name).value !== "") given[name] = Number($(name).value);
  }
  return given;
}

function texts() {
  const lines = $("text").value.split("\n").map(line => line.replace(/^[ \t\r]+|[ \t\r]+$/g, "")).filter(Boolean);
  if (model.reads === "numbers") return lines.map(line => line.includes("\t") ? line : line.split(/[\s,;]+/).join("\t"));
  return lines.map(line => model.separator && model.separator !== " " ? line.split(/[ \t]+/).join(model.separator) : line);
}

async function ask(goOn) {
  const lines = texts();
  if (!lines.length && model.reads !== "nothing") throw new Error("type something first");
  if (lines.length > MOST) throw new Error(`${lines.length} lines; at most ${MOST} at once`);
  if (model.task === "Generation") return write(lines[0] || "", goOn);
  const body = {texts: lines, model: model.name, attention: model.attention, ...settings()};
  if (!model.predicts_once) body.n_best = Number($("n_best").value) || 1;
  if (body.beam_size && body.n_best > body.beam_size) body.beam_size = body.n_best;
  const started = performance.now();
  const {answers} = await (await send("predict", body)).json();
  $("status").textContent = `${answers.length === 1 ? "answered" : `${answers.length} answers`} in ${Math.round(performance.now() - started)} ms`;
  const cards = answers.map((answer, at) => card(lines[at], answer));
  $("answers").replaceChildren(...cards);
  if (model.encodes) await neighbours(lines, cards);
}

async function write(typed, goOn) {
  const text = goOn && typed === begun ? "" : typed;
  begun = typed;
  const output = element("p", {className: "output writing", dir: "auto"});
  const given = text ? [element("p", {className: "given", dir: "auto"}, text)] : [];
  const article = element("article", {className: "answer"}, ...given, output);
  if (goOn) $("answers").append(article); else $("answers").replaceChildren(article);
  const body = {text, model: model.name, ...settings()};
  delete body.beam_size;
  if (model.carries) Object.assign(body, {end: false, session: goOn ? session : null});
  $("answers").setAttribute("aria-busy", "true");
  try {
    for await (const [kind, data] of events(await send("stream", body))) {
      if (kind === "error") throw new Error(data.error);
      output.textContent = data.text;
      if (kind === "done") {
        session = data.session;
        $("continue").hidden = !session;
        $("status").textContent = `${data.token_scores.length} tokens, probability ${percent(chance(data))}`;
      }
    }
  } finally {
    output.classList.remove("writing");
    $("answers").removeAttribute("aria-busy");
  }
}

// What is answered.

function card(text, answer) {
  const article = element("article", {className: "answer"});
  article.append(element("p", {className: "given", dir: "auto"}, shown(text)));
  const best = answer.predictions[0];
  if (!best) article.append(element("p", {className: "output"}, "nothing"));
  else if (best.labels) article.append(...tagged(answer));
  else if (model.reads === "numbers" && model.task === "Forecasting") article.append(...forecast(text, best));
  else if (model.labels.length) article.append(...classes(answer));
  else article.append(...written(answer));
  return article;
}

const shown = text => text.replaceAll("\t", " ");

function written(answer) {
  const [best, ...others] = answer.predictions;
  const parts = [element("p", {className: "output", dir: "auto"}, best.text)];
  if (best.at_limit) parts.push(element("p", {className: "note"}, "It is as long as allowed, and may go on."));
  if (answer.attention) parts.push(...alignment(answer.attention));
  if (others.length) parts.push(element("h3", {}, "Alternatives and how probable they are"), ranked(answer.predictions));
  return parts;
}

function ranked(predictions) {
  return element("ol", {className: "ranked"}, ...predictions.map(one => {
    const share = chance(one);
    const meter = element("meter", {value: share, title: `score ${one.score}`, "aria-label": "probability"});
    return element("li", {}, element("span", {dir: "auto"}, one.text), element("span", {className: "share"}, percent(share)), meter);
  }));
}

function classes(answer) {
  const heading = element("p", {className: "output", dir: "auto"}, answer.predictions[0].text || "no label");
  return [heading, element("h3", {}, "Probabilities"), ranked(answer.predictions)];
}

function tagged(answer) {
  const best = answer.predictions[0], kinds = model.labels.map(kindOf).filter(kind => kind !== "O");
  const hues = [...new Set(kinds)];
  const items = answer.tokens.map((token, at) => {
    const label = best.labels[at] ?? "", kind = kindOf(label), hue = hues.indexOf(kind);
    const name = kind === "O" ? "" : label, share = Math.exp(best.token_scores[at]);
    const item = element("li", {title: `${label}, ${percent(share)}`}, element("span", {}, token), element("span", {className: "label"}, name || "\u00a0"));
    if (hue >= 0) {
      item.classList.add("hued");
      item.style.setProperty("--number", hue);
    }
    if (/^I-/.test(label) && at && kindOf(best.labels[at - 1]) === kind) item.classList.add("in");
    return item;
  });
  return [element("ul", {className: "tagged", "aria-label": "Tokens with their labels", dir: "auto"}, ...items)];
}

const kindOf = label => label.replace(/^[BIES]-/, "");

// Attention: pointing at a token of one side shades those of the other; arrow keys move.
function alignment({source, target, weights}) {
  const status = element("p", {className: "status", role: "status"}, "Point at a token, or move with the arrow keys.");
  const tokens = [source, target];
  const lists = tokens.map((side, which) => element("ul", {className: "words", dir: "auto", "aria-label": which ? "Tokens of the output" : "Tokens of the source"},
    ...side.map((token, at) => element("li", {tabIndex: at ? -1 : 0}, token))));

  function follow(which, at) {
    const shares = tokens[1 - which].map((_, other) => which ? weights[at][other] : weights[other][at]);
    lists.forEach(list => [...list.children].forEach(item => { item.removeAttribute("aria-current"); item.style.background = ""; item.tabIndex = -1; }));
    lists.forEach((list, side) => { list.children[side === which ? at : 0].tabIndex = 0; });
    lists[which].children[at].setAttribute("aria-current", "true");
    shares.forEach((share, other) => {
      if (share > 0.005) lists[1 - which].children[other].style.background = `color-mix(in srgb, var(--series-1) ${Math.round(Math.min(0.6, share) * 100)}%, transparent)`;
    });
    const most = shares.map((share, other) => [share, tokens[1 - which][other]]).filter(([share]) => share > 0.04).sort((a, b) => b[0] - a[0]).slice(0, 4);
    status.textContent = `${tokens[which][at]} ${which ? "looks at" : "is seen by"} ${most.map(([share, token]) => `${token} ${Math.round(100 * share)} %`).join(", ") || "nothing above 4 %"}`;
  }

  lists.forEach((list, which) => {
    const place = event => [...list.children].indexOf(event.target.closest("li"));
    for (const kind of ["pointerover", "focusin"]) {
      list.addEventListener(kind, event => { if (place(event) >= 0) follow(which, place(event)); });
    }
    list.addEventListener("keydown", event => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      const next = step && list.children[place(event) + step];
      if (next) { event.preventDefault(); next.focus(); }
      if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); lists[1 - which].children[0].focus(); }
    });
  });
  const note = text => element("p", {className: "note"}, text);
  return [element("h3", {}, "Attention"), element("div", {className: "alignment"}, note("Source"), lists[0], note("Output"), lists[1], status)];
}

// A forecast as a picture: the first number of each step.
function forecast(text, best) {
  const numbers = line => line.split("\t").filter(step => step.trim()[0] !== "|").map(step => Number(step.trim().split(" ")[0]));
  const known = numbers(text).slice(-120), middle = numbers(best.text);
  const levels = best.quantiles ? Object.keys(best.quantiles).map(Number).sort((a, b) => a - b) : [];
  const outer = levels.length > 1 ? [levels[0], levels.at(-1)].map(level => numbers(best.quantiles[level])) : [];
  const values = [...known, ...middle, ...outer.flat()], low = Math.min(...values), high = Math.max(...values);
  const width = 720, height = 300, left = 64, right = 12, top = 12, bottom = 32, steps = known.length + middle.length - 1;
  const x = at => left + (width - left - right) * at / Math.max(1, steps);
  const y = value => top + (height - top - bottom) * (high - value) / (high - low || 1);
  const line = (points, first) => points.map((value, at) => `${at ? "L" : "M"}${x(first + at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const now = known.length - 1, last = known[now];
  const svg = drawn("svg", {class: "forecast", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${known.length} known steps and a forecast of ${middle.length}, from ${middle[0]} to ${middle.at(-1)}`});
  for (let tick = 0; tick <= 4; tick++) {
    const value = low + (high - low) * tick / 4;
    svg.append(drawn("line", {class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value)}));
    svg.append(drawn("text", {x: left - 8, y: y(value) + 4, "text-anchor": "end"}, Number(value.toPrecision(4)).toLocaleString("en")));
  }
  if (outer.length) {
    const back = outer[0].map((value, at) => `L${x(now + 1 + at).toFixed(1)} ${y(value).toFixed(1)}`).reverse().join("");
    svg.append(drawn("path", {class: "band", d: `${line([last, ...outer[1]], now)}${back}Z`}));
  }
  svg.append(drawn("line", {class: "now", x1: x(now), x2: x(now), y1: top, y2: height - bottom}));
  svg.append(drawn("path", {class: "known", d: line(known, 0)}), drawn("path", {class: "median", d: line([last, ...middle], now)}));
  svg.append(drawn("text", {x: x(now) - 6, y: height - 10, "text-anchor": "end"}, "known"), drawn("text", {x: x(now) + 6, y: height - 10}, "forecast"));
  const rows = middle.map((value, at) => element("tr", {}, element("th", {scope: "row"}, String(at + 1)), ...[value, ...outer.map(one => one[at])].map(one => element("td", {className: "number"}, String(one)))));
  const names = ["step", "forecast", ...(outer.length ? [`quantile ${levels[0]}`, `quantile ${levels.at(-1)}`] : [])];
  const head = element("tr", {}, ...names.map(name => element("th", {scope: "col"}, name)));
  const table = element("div", {className: "scroll"}, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  return [svg, element("details", {}, element("summary", {}, "The numbers"), table)];
}

// Neighbours: the texts asked so far whose fixed vectors point the same way.
async function neighbours(lines, cards) {
  const {answers} = await (await send("encode", {texts: lines, model: model.name})).json();
  const known = asked.get(model.name) ?? new Map();
  asked.set(model.name, known);
  answers.forEach(({vector}, at) => {
    const length = Math.hypot(...vector) || 1, unit = vector.map(one => one / length);
    const near = [...known].filter(([text]) => text !== lines[at])
      .map(([text, other]) => [unit.reduce((sum, one, place) => sum + one * other[place], 0), text])
      .sort((a, b) => b[0] - a[0]).slice(0, NEAREST);
    if (near.length) cards[at].append(element("h3", {}, "Nearest fixed vectors of the texts asked so far"), nearest(near));
    known.set(lines[at], unit);
    if (known.size > KEPT) known.delete(known.keys().next().value);
  });
}

function nearest(near) {
  return element("ul", {className: "nearest"}, ...near.map(([cosine, text]) => {
    const button = element("button", {type: "button", dir: "auto", title: "ask this again"}, shown(text));
    button.addEventListener("click", () => { $("text").value = shown(text); act(false); });
    return element("li", {}, button, element("span", {className: "share", title: "cosine"}, cosine.toFixed(3)));
  }));
}

// The form.

const HINTS = {
  text: "Enter asks, Shift and Enter begin another line; each line is a text of its own.",
  tokens: "Separate tokens by spaces, punctuation too. Enter asks; each line is a sentence of its own.",
  numbers: "The known values in order, separated by spaces or commas. Enter asks; each line is a series of its own.",
  nothing: "How the text begins; it may be empty. Enter writes.",
};

function choose(name) {
  model = models.find(one => one.name === name) ?? models[0];
  session = null;
  const parts = {Translation: "Text to text", Tagging: "A label for each token", Classification: "A label for each text", Generation: "Writes text", Forecasting: "Forecasts a series"};
  $("about").textContent = parts[model.task] ?? model.task;
  $("name").textContent = document.title = model.name;
  $("prompt").textContent = {numbers: "Series", nothing: "Beginning"}[model.reads] ?? (model.task === "Generation" ? "Condition" : "Text");
  $("hint").textContent = HINTS[model.separator !== null && model.reads === "text" ? "tokens" : model.task === "Generation" ? "nothing" : model.reads];
  $("ask").textContent = model.task === "Generation" ? "Write" : "Ask";
  const many = model.task === "Classification" ? Math.min(10, model.labels.length) : model.searches && model.task === "Translation" ? 3 : 1;
  $("n_best").value = many;
  $("temperature").value = model.task === "Generation" ? model.temperature ?? 0.8 : "";
  for (const field of document.querySelectorAll("[data-for]")) {
    field.hidden = field.dataset.for === "n_best" ? model.predicts_once || model.task === "Generation" : !model.searches;
  }
  $("more").hidden = [...document.querySelectorAll("[data-for]")].every(field => field.hidden);
  $("answers").replaceChildren();
  $("continue").hidden = true;
  $("status").textContent = "";
}

async function act(goOn) {
  $("problem").hidden = true;
  $("ask").disabled = true;
  $("status").textContent = "";
  try {
    if (!model) await start(); else await ask(goOn);
  } catch (problem) {
    $("problem").textContent = problem.message;
    $("problem").hidden = false;
  } finally {
    $("ask").disabled = false;
  }
}

async function start() {
  models = (await (await send("models")).json()).models;
  $("secret").hidden = true;
  $("choice").hidden = models.length < 2;
  $("model").replaceChildren(...models.map(one => element("option", {value: one.name}, one.name)));
  choose(models[0].name);
}

$("form").addEventListener("submit", event => { event.preventDefault(); act(false); });
$("token").addEventListener("keydown", event => { if (event.key === "Enter") act(false); });
$("continue").addEventListener("click", () => act(true));
$("model").addEventListener("change", () => choose($("model").value));
$("text").addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); act(false); }
});
act(false);
