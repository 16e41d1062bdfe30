// Additions to a page that says everything without them: following the attention, searching all rows, copying.
"use strict";

// Attention: pointing at a target word shades the source words that it attends to, and the other way round.
function explore(box) {
  const weights = box.dataset.weights.split(";").map(row => row.split(",").map(Number));
  const sides = ["source", "target"].map(side => JSON.parse(box.dataset[side]));
  const lists = sides.map((tokens, side) => wordList(tokens, index => follow(side, index)));
  const status = document.createElement("p");
  status.className = "status";
  status.setAttribute("aria-live", "polite");
  status.textContent = "Point at a word, or move to it with the tab key.";
  box.prepend(label("Source"), lists[0], label("Prediction"), lists[1], status);

  function follow(side, index) {
    const other = 1 - side;
    const shares = sides[other].map((_, at) => (side ? (weights[index] || [])[at] : (weights[at] || [])[index]) || 0);
    [...lists[side].children].forEach((item, at) => at === index ? item.setAttribute("aria-current", "true") : item.removeAttribute("aria-current"));
    [...lists[side].children].forEach(item => { item.style.background = ""; });
    [...lists[other].children].forEach((item, at) => {
      item.removeAttribute("aria-current");
      item.style.background = shares[at] ? `color-mix(in srgb, var(--series-1) ${Math.min(90, shares[at])}%, transparent)` : "";
    });
    const most = shares.map((share, at) => [share, sides[other][at]]).filter(pair => pair[0] > 4).sort((a, b) => b[0] - a[0]).slice(0, 5);
    const verb = side ? "attends to" : "is attended by";
    status.textContent = `${sides[side][index]} ${verb} ${most.map(pair => `${pair[1]} ${pair[0]} %`).join(", ") || "nothing above 4 %"}`;
  }
}

function label(text) {
  const found = document.createElement("p");
  found.className = "note";
  found.textContent = text;
  return found;
}

function wordList(tokens, follow) {
  const list = document.createElement("ul");
  list.className = "words";
  list.dir = "auto";
  tokens.forEach((token, index) => {
    const item = document.createElement("li");
    item.textContent = token;
    item.tabIndex = 0;
    item.addEventListener("pointerenter", () => follow(index));
    item.addEventListener("focus", () => follow(index));
    list.append(item);
  });
  return list;
}

for (const details of document.querySelectorAll("details:has(> .alignment)")) {
  const open = () => {
    const box = details.querySelector(".alignment");
    if (details.open && !box.dataset.ready) {
      box.dataset.ready = "yes";
      explore(box);
    }
  };
  details.addEventListener("toggle", open);
  open();
}

// The map of the vectors: the sentence under the pointer stands below.
for (const map of document.querySelectorAll(".map")) {
  const status = map.parentElement.querySelector(".status");
  status.hidden = false;
  status.textContent = "Point at a dot to read its source.";
  map.addEventListener("pointerover", event => {
    const title = event.target.closest("circle")?.querySelector("title");
    if (title) status.textContent = title.textContent;
  });
}

// Search: all rows that hold the words, the first fifty of them.
const data = document.getElementById("rows");
if (data) {
  const rows = JSON.parse(data.textContent);
  const form = document.querySelector(".search"), note = document.getElementById("found"), list = document.getElementById("matches");
  const input = document.getElementById("search"), sort = document.getElementById("sort");
  const metric = list.dataset.score;
  const orders = {
    row: () => 0,
    worst: (a, b) => (a[4] ?? 1e9) - (b[4] ?? 1e9),
    best: (a, b) => (b[4] ?? -1e9) - (a[4] ?? -1e9),
    longest: (a, b) => b[1].length - a[1].length,
  };
  form.hidden = false;
  form.addEventListener("submit", event => event.preventDefault());
  input.addEventListener("input", search);
  sort.addEventListener("input", search);

  function search() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const asked = words.length > 0 || sort.value !== "row";
    const matches = asked ? rows.filter(row => words.every(word => `${row[1]}\n${row[2]}\n${row[3]}`.toLowerCase().includes(word))) : [];
    matches.sort(orders[sort.value]);
    note.hidden = !asked;
    note.textContent = `${matches.length.toLocaleString("en")} rows${matches.length > 50 ? ", the first 50 of them" : ""}`;
    list.replaceChildren(...matches.slice(0, 50).map(card));
  }

  function card(row) {
    const found = document.createElement("article");
    found.className = "example";
    const about = document.createElement("p");
    about.className = "about";
    about.textContent = `row ${row[0]}${row[4] === null ? "" : ` · ${metric} ${row[4]}`}`;
    const list = document.createElement("dl");
    ["Source", "Reference", "Prediction"].forEach((name, side) => {
      if (!row[side + 1] && side === 0) return;
      const term = document.createElement("dt"), text = document.createElement("dd"), inner = document.createElement("div");
      term.textContent = name;
      inner.dir = "auto";
      inner.append(...(side === 2 ? marked(row[3], row[2]) : [row[side + 1] || "(empty)"]));
      text.append(inner);
      list.append(term, text);
    });
    found.append(about, list);
    return found;
  }
}

// A prediction, its words underlined that the reference does not have so often.
function marked(prediction, reference) {
  if (!prediction) return ["(empty)"];
  const left = new Map();
  const pattern = reference.includes(" ") || reference.includes("\t") ? /\s+|\S+/gu : /./gsu;
  for (const word of reference.match(pattern) || []) left.set(word, (left.get(word) || 0) + 1);
  return (prediction.match(pattern) || []).map(word => {
    const many = left.get(word) || 0;
    left.set(word, many - 1);
    if (many > 0 || !word.trim()) return word;
    const mark = document.createElement("mark");
    mark.className = "differs";
    mark.textContent = word;
    return mark;
  });
}

// The command, to the clipboard.
for (const button of document.querySelectorAll(".copy")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = "Copied";
  });
}
