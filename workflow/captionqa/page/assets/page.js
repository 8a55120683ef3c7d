// The results page. All that comes from models and data sets is set as text, never as HTML.
"use strict";

const BATCH = 20; // cards that are added at a time
const LONG_TEXT = 900, LONG_LINES = 12; // of an output that is shown in part at first
const LONG_QUESTION = 280; // characters above which a question is set smaller
const MANY_GROUPS = 8; // categories that are shown at first
const WORDS = {
  right: "right", wrong: "wrong", unparsed: "unparsed", failed: "failed", ungraded: "no ground truth",
  truncated: "truncated", duplicate: "duplicate", all: "all",
};
const SIGNS = { right: "✓", wrong: "✗", unparsed: "?", failed: "!", ungraded: "–" };
const EXPLAINED = {
  right: "The answer is the ground truth.",
  wrong: "An answer was read, and it is not the ground truth.",
  unparsed: "No answer could be read from the output; it counts as wrong.",
  failed: "There is no output; it counts as wrong.",
  ungraded: "The question file gives no ground truth.",
  truncated: "The output ended at max_tokens.",
  duplicate: "Another image on this page has the same content.",
  all: "No filter.",
};
const RULES = {
  box: "The answer was read from the last \\boxed{…}.", cue: "The answer was read behind a cue such as “the answer is”.",
  letter: "The output is only a letter.", "option text": "The output has the text of one option alone.",
  verify: "The value was compared with the ground truth.", none: "No rule found an answer.", ungraded: "Nothing to grade against.",
};
const PARTIAL = ["vqa", "anls"]; // scorings with parts of a point

// Data: scripts of the folder data/ call `receive`.

const waiting = new Map(), loaded = new Map();
window.captionqaPage = {
  receive(name, text) { loaded.set(name, JSON.parse(text)); },
};

function load(name) {
  if (!waiting.has(name)) {
    waiting.set(name, new Promise((resolve, reject) => {
      const tag = document.createElement("script");
      tag.src = `data/${name}.js`;
      tag.onload = () => resolve(loaded.get(name));
      tag.onerror = () => reject(new Error(`data/${name}.js is missing: copy the whole folder of this page.`));
      document.head.append(tag);
    }));
  }
  return waiting.get(name);
}

// Elements

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const foreign = (tag, text, css = "") => make(tag, { class: `foreign ${css}`.trim(), dir: "auto" }, text);
const counted = (number) => number.toLocaleString("en-US");
const percent = (share) => `${(100 * share).toFixed(1)}%`;
const interval95 = (interval) => (interval ? `; 95\u00a0%\u00a0interval ${percent(interval[0])} to ${percent(interval[1])}` : "");
const time = (iso) => iso.slice(0, 16).replace("T", " ");
const badge = (kind, text) => make("span", { class: `badge ${kind}`, title: EXPLAINED[kind] }, text);

function plural(number, word) { return `${counted(number)} ${word}${number === 1 ? "" : "s"}`; }

function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function track(share, interval) {
  const fill = make("span", { class: "fill" });
  fill.style.width = `${100 * share}%`;
  const line = make("span", { class: "track", "aria-hidden": "true" }, fill);
  line.style.display = "block";
  if (interval) {
    const whisker = make("span", { class: "whisker" });
    whisker.style.left = `${100 * interval[0]}%`;
    whisker.style.width = `${100 * (interval[1] - interval[0])}%`;
    line.append(whisker);
  }
  return line;
}

// Long texts are cut by their looks alone, so that a search of the browser finds all of them.
function expandable(element, text) {
  if (text.length < LONG_TEXT && text.split("\n").length <= LONG_LINES) return element;
  element.classList.add("clamped");
  const button = make("button", { class: "plain expand", type: "button", "aria-expanded": "false" }, "Show all");
  button.addEventListener("click", () => {
    const open = !element.classList.toggle("clamped");
    button.textContent = open ? "Show less" : "Show all";
    button.setAttribute("aria-expanded", String(open));
  });
  return make("div", {}, element, button);
}

function picture(image, link) {
  const described = image.caption ? image.caption.slice(0, 400) : `Image ${image.name}`;
  const name = make("figcaption", {}, link ? make("a", { class: "foreign", dir: "auto", href: link,
    title: "A link to this image alone" }, image.name) : foreign("span", image.name));
  if (!image.thumbnail) {
    const reason = foreign("div", image.reason || "no picture to show", "absent");
    return make("figure", { class: "picture" }, reason, name);
  }
  const shown = make("img", {
    src: image.thumbnail, alt: described, width: image.width, height: image.height, loading: "lazy", decoding: "async",
  });
  const file = make("a", { href: image.original || image.thumbnail, target: "_blank", rel: "noopener noreferrer" }, shown);
  return make("figure", { class: "picture" }, file, name);
}

// Views: what questions and captions have in common is a list of item numbers that filters make smaller.

class View {
  constructor(name, index, length) {
    this.name = name;
    this.index = index;
    this.length = length;
    this.filter = {};
    this.texts = null; // of all items, in lower case, once somebody has searched
    this.only = null; // the number of the one item that a link names
    this.matches = [];
  }

  async item(number) {
    const size = this.index.shard_items;
    const shard = await load(`${this.name}-${Math.floor(number / size)}`);
    return shard[number % size];
  }

  async loadTexts() {
    const shards = Array.from({ length: Math.ceil(this.length / this.index.shard_items) }, (_, n) => load(`${this.name}-${n}`));
    this.texts ??= (await Promise.all(shards)).flat().map((item) => this.text(item).toLowerCase());
  }

  isFiltered() { return Object.values(this.filter).some((value) => value !== "" && value !== undefined); }

  find() {
    const words = (this.filter.text || "").toLowerCase().split(/\s+/).filter(Boolean);
    this.matches = [];
    for (let number = 0; number < this.length; number++) {
      if (this.only !== null ? number !== this.only : !this.fits(number)) continue;
      if (this.only === null && words.length && !words.every((word) => this.texts[number].includes(word))) continue;
      this.matches.push(number);
    }
  }
}

class Questions extends View {
  constructor(index) {
    super("questions", index, index.qids.length);
    this.noun = "question";
    this.names = index.qids;
    this.key = "q";
    this.list = "cards";
  }

  text(item) {
    const parts = [item.qid, item.question, item.output, item.detail, item.category, item.source];
    return [...parts, ...item.choices, ...item.truth, ...item.images.map((image) => image.name)].join("\n");
  }

  fits(number) {
    const { status, category, source, rule } = this.filter, index = this.index;
    if (status && (status === "truncated" ? !index.truncated[number] : index.status[number] !== status)) return false;
    return [["category", category], ["source", source], ["rule", rule]].every(
      ([column, name]) => !name || index[column].names[index[column].of[number]] === name);
  }

  tiles() { return ["all", "right", "wrong", "unparsed", "failed", "truncated", ...this.index.counts.ungraded ? ["ungraded"] : []]; }

  selects() {
    return ["category", "source", "rule"].filter((column) => this.index[column].names.length > 1)
      .map((column) => choice(this, column, this.index[column].names));
  }

  card(item, page) {
    const head = make("div", { class: "head" },
      badge(item.status, `${SIGNS[item.status]} ${WORDS[item.status]}`),
      item.truncated && badge("truncated", "truncated"),
      make("a", { class: "link foreign", href: `#q=${encode(item.qid)}`, title: "A link to this question alone" }, item.qid),
      ...["category", "source"].filter((column) => this.index[column].names.length > 1).map((column) =>
        make("button", { class: "chip foreign", type: "button", title: `Only this ${column}`,
          onclick: () => page.setFilter({ [column]: item[column] }) }, item[column])));
    if (item.status !== "failed") {
      const score = PARTIAL.includes(this.index.scoring) && item.score !== null ? ` · score ${+item.score.toFixed(3)}` : "";
      head.append(make("span", { class: "rule", title: RULES[item.rule] }, `rule: ${item.rule}${score}`));
    }
    const body = make("div", {}, foreign("p", item.question, `question${item.question.length > LONG_QUESTION ? " long" : ""}`));
    if (item.choices.length) body.append(choices(item));
    if (item.truth.length && !(item.choices.length && item.truth_letter)) {
      body.append(make("p", { class: "truths" }, make("b", {}, "ground truth "), foreign("span", item.truth.join("  ·  "))));
    }
    if (item.output !== null) {
      body.append(make("div", { class: "label" }, "output"), expandable(foreign("div", item.output, "output"), item.output));
    } else {
      body.append(fault({ reason: item.rule, detail: item.detail }));
    }
    if (item.fallback_letter) body.append(make("p", { class: "label" }, `asked for the letter alone: ${item.fallback_letter}`));
    const pictures = make("div", { class: `pictures${item.images.length > 1 ? " several" : ""}` }, ...item.images.map((image) => picture(image)));
    return make("article", { class: `panel card${item.images.length ? "" : " imageless"}`, tabindex: "-1",
      "aria-label": `Question ${item.qid}, ${WORDS[item.status]}` }, head, item.images.length > 0 && pictures, body);
  }
}

const fault = ({ reason, detail }) => make("div", { class: "fault" }, make("b", {}, reason), foreign("span", detail));

function choices(item) {
  return make("ol", { class: "choices" }, ...item.choices.map((text, number) => {
    const letter = String.fromCharCode(65 + number);
    const isTruth = letter === item.truth_letter, isRead = letter === item.letter;
    const css = `choice${isTruth ? " truth" : ""}${isRead ? " read" : ""}${isRead && item.truth_letter && !isTruth ? " missed" : ""}`;
    const tags = [isTruth && "✓ ground truth", isRead && `${isTruth || !item.truth_letter ? "" : "✗ "}model`].filter(Boolean);
    return make("li", { class: css }, make("span", { class: "letter" }, letter), foreign("span", text),
      make("span", { class: "tags" }, ...tags.map((tag) => make("span", {}, tag))));
  }));
}

class Captions extends View {
  constructor(index) {
    super("captions", index, index.names.length);
    this.noun = "image";
    this.names = index.names;
    this.key = "c";
    this.list = "gallery";
    this.duplicates = index.duplicate.filter(Boolean).length;
    index.counts.duplicate = this.duplicates;
  }

  text(item) {
    return [item.name, ...item.captions.map((caption) => caption ? caption.text ?? caption.detail : "")].join("\n");
  }

  fits(number) {
    const { status, from, to } = this.filter;
    if (status && !this.index[status][number]) return false;
    if (!from && !to) return true;
    return this.index.lengths[number].some((length) => length >= (from || 0) && length <= (to || Infinity));
  }

  tiles() { return ["all", "failed", "truncated", "duplicate"]; }

  selects() {
    const input = (key, label) => make("input", { type: "number", min: "0", step: "10", placeholder: "any", "aria-label": label,
      value: this.filter[key] || null, oninput: (event) => page.setFilter({ [key]: Number(event.target.value) || "" }) });
    return [make("label", {}, "characters", input("from", "The fewest characters of a caption"), "to",
      input("to", "The most characters of a caption"))];
  }

  card(item) {
    const number = this.names.indexOf(item.name);
    const first = item.captions[0], reasons = new Set(item.captions.map((caption) => caption && caption.detail));
    const isSame = first && first.reason && reasons.size === 1; // of all styles
    const captions = isSame ? [fault(first)] : item.captions.flatMap((caption, style) => {
      if (!caption) return [];
      const length = caption.text === undefined ? "" : plural(caption.text.length, "character");
      const label = make("div", { class: "label" }, this.index.styles[style], make("span", { class: "number" }, length),
        caption.truncated && badge("truncated", "truncated"));
      if (caption.text === undefined) {
        return [label, fault(caption)];
      }
      return [label, expandable(foreign("div", caption.text, "output"), caption.text)];
    });
    const head = make("div", { class: "head" }, this.index.failed[number] && badge("failed", "! failed"),
      this.index.duplicate[number] && badge("duplicate", "duplicate"));
    const pictures = make("div", { class: `pictures${item.images.length > 1 ? " several" : ""}` }, ...item.images.map((image) => picture(image, `#c=${encode(item.name)}`)));
    return make("article", { class: "panel shot", tabindex: "-1", "aria-label": `Image ${item.name}` }, pictures,
      head.childElementCount > 0 && head, ...captions);
  }
}

// A name may hold any character, also half of a pair, which encodeURIComponent refuses.
const wellFormed = (name) => name.replace(/\p{Surrogate}/gu, "\ufffd");
const encode = (name) => encodeURIComponent(wellFormed(name));

function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function choice(view, column, names) {
  const chosen = view.filter[column] || "";
  const select = make("select", { "aria-label": `Filter by ${column}`,
    onchange: () => page.setFilter({ [column]: select.value === "" ? "" : names[Number(select.value)] }) },
  make("option", { value: "" }, `any ${column}`),
  ...names.map((name, number) => make("option", { value: String(number), selected: name === chosen }, name.slice(0, 80))));
  return select;
}

// The page: the overview above, and below it the list of one view.

class Page {
  constructor(overview) {
    this.overview = overview;
    this.views = {};
    if (overview.questions) this.views.questions = new Questions(overview.questions);
    if (overview.captions) this.views.captions = new Captions(overview.captions);
    this.view = Object.values(this.views)[0];
    this.round = 0; // of filtering; a list that was begun in an earlier one goes on no more
  }

  start() {
    const { model } = this.overview;
    document.title = `${model.name} · captionqa results`;
    this.header = document.getElementById("header");
    this.main = document.getElementById("main");
    this.panels = make("div");
    this.header.append(foreign("h1", model.name), this.facts(), this.panels, this.ran());
    for (const view of Object.values(this.views)) {
      if (view.length < view.index.counts.all) this.header.append(this.sampled(view));
    }
    this.buildToolbar();
    this.items = make("div");
    this.ending = make("div", { class: "end" });
    this.main.append(this.toolbar, this.items, this.ending);
    this.watch = new IntersectionObserver((entries) => { if (entries.some((e) => e.isIntersecting)) this.more(); }, { rootMargin: "900px" });
    this.watch.observe(this.ending);
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => this.follow());
    this.follow();
  }

  sampled(view) {
    return make("p", { class: "note" }, `This page shows ${counted(view.length)} of ${plural(view.index.counts.all, view.noun)}: ` +
      "failures and wrong answers first, up to a limit, and a random sample of the others. The figures above are of all of them.");
  }

  facts() {
    const { parts, questions, captions } = this.overview, sum = (key) => parts.reduce((total, part) => total + part[key], 0);
    const data = [...new Set(parts.flatMap((part) => part.data))];
    const begun = Math.min(...parts.map((part) => Date.parse(part.started)));
    const ended = Math.max(...parts.map((part) => Date.parse(part.started) + 1000 * part.seconds));
    const facts = [
      questions && plural(questions.counts.all, "question"),
      captions && `${plural(captions.counts.all, "image")} in ${plural(captions.styles.length, "prompt style")}`,
      data.map((path) => path.split("/").filter(Boolean).pop() ?? path).join(", "),
      `asked in ${duration((ended - begun) / 1000)}, ${time(new Date(begun).toISOString())} UTC`,
      `${counted(sum("prompt_tokens"))} tokens in, ${counted(sum("completion_tokens"))} out`,
    ];
    return make("p", { class: "facts" }, ...facts.filter(Boolean).map((fact) => foreign("span", fact)));
  }

  ran() {
    const rows = this.overview.parts.map((part) => make("tr", {},
      make("td", {}, foreign("span", part.name)), make("td", { class: "count" }, counted(part.items)),
      make("td", { class: "count", title: part.reasons.map(([reason, n]) => `${n} ${reason}`).join(", ") }, counted(part.failed)),
      make("td", { class: "count" }, counted(part.truncated)),
      make("td", {}, time(part.started)), make("td", { class: "count" }, duration(part.seconds)),
      make("td", { class: "count" }, counted(part.prompt_tokens)), make("td", { class: "count" }, counted(part.completion_tokens)),
      make("td", { class: "count" }, counted(part.max_tokens)),
      make("td", { class: "wide" }, foreign("span", part.prompt || "–"))));
    const heads = [["file", ""], ["items", "count"], ["failed", "count"], ["truncated", "count"], ["started (UTC)", ""],
      ["took", "count"], ["tokens in", "count"], ["tokens out", "count"], ["max_tokens", "count"], ["prompt", ""]];
    const { model, made, parts } = this.overview;
    const facts = [`model ${model.path}`, ...[...new Set(parts.flatMap((part) => part.data))].map((path) => `data ${path}`), ...model.servers.length ? [`vLLM ${model.servers.join(", ")}`] : [],
      `captionqa ${model.captionqa}${model.commit ? ` (${model.commit.slice(0, 8)})` : ""}`, `page made ${time(made)} UTC`];
    return make("details", { class: "panel ran" }, make("summary", {}, "What ran: settings, times, tokens"),
      make("table", {}, make("thead", {}, make("tr", {}, ...heads.map(([text, css]) => make("th", { class: css || null, scope: "col" }, text)))),
        make("tbody", {}, ...rows)),
      make("p", { class: "facts" }, ...facts.map((fact) => foreign("span", fact))));
  }

  buildPanels() {
    const view = this.view, index = view.index, box = make("div", { class: "panels" });
    const tiles = make("div", { class: "tiles", role: "group", "aria-label": "Filter by what became of it" }, ...view.tiles().map((kind) => {
      const count = index.counts[kind] || 0, pressed = kind === "all" ? !view.filter.status : view.filter.status === kind;
      return make("button", { class: `tile ${kind}`, type: "button", "aria-pressed": String(pressed), title: EXPLAINED[kind],
        disabled: !count && kind !== "all",
        onclick: () => this.setFilter({ status: kind === "all" || view.filter.status === kind ? "" : kind }) },
      make("b", { class: "number" }, counted(count)), make("span", {}, WORDS[kind]));
    }));
    if (view.name === "captions") {
      box.classList.add("single");
      box.append(make("section", { class: "panel" }, make("h2", {}, "Images"), tiles));
    } else {
      box.append(this.accuracyPanel(index, tiles));
      this.group ??= index.categories.length > 1 || index.sources.length < 2 ? "category" : "source";
      box.append(this.groupPanel(index));
    }
    this.panels.replaceChildren(box);
  }

  accuracyPanel(index, tiles) {
    const panel = make("section", { class: "panel" }, make("h2", {}, "Accuracy"));
    if (index.graded) {
      const interval = index.interval;
      panel.append(make("div", { class: "accuracy" }, make("strong", { class: "number" }, percent(index.accuracy)),
        make("span", {}, `${counted(index.correct)} of ${counted(index.graded)} right${interval95(interval)}`)),
      track(index.accuracy, interval), make("div", { class: "scale", "aria-hidden": "true" }, make("span", {}, "0"), make("span", {}, "100%")));
      if (PARTIAL.includes(index.scoring)) {
        panel.append(make("p", { class: "label" }, `mean score by ${index.scoring}: ${percent(index.mean_score)}`));
      }
    } else panel.append(make("p", {}, "No question has a ground truth, so that none is graded."));
    panel.append(tiles);
    return panel;
  }

  groupPanel(index) {
    const both = index.categories.length > 1 && index.sources.length > 1;
    const groups = this.group === "category" ? index.categories : index.sources, chosen = this.view.filter[this.group];
    const heading = make("h2", {}, `Accuracy by ${this.group}`, both && make("button", { class: "plain", type: "button",
      onclick: () => { this.group = this.group === "category" ? "source" : "category"; this.buildPanels(); } },
    `show by ${this.group === "category" ? "source" : "category"}`));
    const all = this.allGroups || groups.length <= MANY_GROUPS + 1 ? groups : groups.filter((g, n) => n < MANY_GROUPS || g.name === chosen);
    const bars = make("div", { class: "bars" }, ...all.map((group) => {
      return make("button", { class: "bar", type: "button", "aria-pressed": String(chosen === group.name),
        title: `${group.name}: ${percent(group.accuracy)}, ${group.correct} of ${group.graded} right${interval95(group.interval)}`,
        onclick: () => this.setFilter({ [this.group]: chosen === group.name ? "" : group.name }) },
      foreign("span", group.name, "name"), track(group.accuracy, group.interval),
      make("span", { class: "share number" }, group.graded ? `${Math.round(100 * group.accuracy)}%` : "–"),
      make("span", { class: "of number" }, `${counted(group.correct)} of ${counted(group.graded)}`));
    }));
    const panel = make("section", { class: "panel" }, heading, bars);
    if (all.length < groups.length) {
      panel.append(make("button", { class: "plain more", type: "button", onclick: () => { this.allGroups = true; this.buildPanels(); } },
        `show all ${counted(groups.length)}`));
    }
    return panel;
  }

  buildToolbar() {
    this.tabs = make("div", { class: "tabs", role: "tablist" });
    this.search = make("input", { type: "search", placeholder: "Search the texts", "aria-label": "Search the texts",
      onfocus: () => this.view.loadTexts().catch((error) => { this.status.textContent = error.message; }),
      oninput: () => this.setFilter({ text: this.search.value }) });
    this.selects = make("div", { class: "row" });
    this.status = make("div", { class: "status", role: "status" });
    this.toolbar = make("div", { class: "toolbar" }, make("div", { class: "row" }, this.tabs, this.search, this.selects), this.status);
  }

  show(name) {
    this.view = this.views[name];
    this.search.value = this.view.filter.text || "";
    this.selects.replaceChildren(...this.view.selects());
    this.tabs.hidden = Object.keys(this.views).length < 2;
    this.tabs.replaceChildren(...Object.values(this.views).map((view) => make("button", { type: "button", role: "tab",
      "aria-selected": String(view === this.view), onclick: () => { this.leaveLink(); this.show(view.name); } },
    view.name === "questions" ? "Questions" : "Captions")));
    return this.refresh();
  }

  setFilter(changed) {
    Object.assign(this.view.filter, changed);
    this.leaveLink();
    if (!("from" in changed || "to" in changed)) this.selects.replaceChildren(...this.view.selects());
    return this.refresh();
  }

  clear() {
    this.view.filter = {};
    this.leaveLink();
    return this.show(this.view.name);
  }

  async refresh() {
    const round = ++this.round, view = this.view;
    try {
      if (view.filter.text && !view.texts) {
        this.status.textContent = "reading the texts …";
        await view.loadTexts();
        if (round !== this.round) return;
      }
      view.find();
      this.buildPanels();
      this.describe();
      this.items.className = view.list;
      this.items.replaceChildren();
      this.shown = 0;
      this.current = -1;
      await this.more();
    } catch (error) {
      this.status.textContent = error.message;
    }
  }

  describe() {
    const view = this.view, found = view.matches.length;
    const text = view.only !== null ? `one ${view.noun}` : view.isFiltered() ? `${counted(found)} of ${plural(view.length, view.noun)}` : plural(found, view.noun);
    const reset = (view.only !== null || view.isFiltered()) && make("button", { class: "plain", type: "button", onclick: () => this.clear() }, "show all");
    const key = (name, what) => make("span", {}, make("kbd", {}, name), ` ${what} `);
    this.status.replaceChildren(make("span", { class: "number" }, text), ...reset ? [reset] : [],
      make("span", { class: "keys" }, key("j", "next"), key("k", "previous"), key("/", "search"), key("Esc", "show all")));
  }

  async more() {
    if (this.adding === this.round) return;
    const round = this.round, view = this.view, numbers = view.matches.slice(this.shown, this.shown + BATCH);
    this.adding = round;
    try {
      const items = await Promise.all(numbers.map((number) => view.item(number)));
      if (round !== this.round) return;
      this.items.append(...items.map((item) => view.card(item, this)));
      this.shown += items.length;
      if (!view.matches.length) this.ending.textContent = `No ${view.noun} fits these filters.`;
      else if (this.shown >= view.matches.length) this.ending.textContent = view.only === null ? "That is all." : "";
      else this.ending.replaceChildren(make("button", { class: "button", type: "button", onclick: () => this.more() }, "Show more"));
    } catch (error) {
      this.status.textContent = error.message;
    } finally {
      if (this.adding === round) this.adding = null;
    }
    if (this.shown < view.matches.length && this.ending.getBoundingClientRect().top < innerHeight + 900) await this.more();
  }

  async move(step) {
    const next = this.current + step;
    if (next < 0 || next >= this.view.matches.length) return;
    while (next >= this.shown) await this.more();
    this.current = next;
    const card = this.items.children[next];
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "start" });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      this.search.blur();
      if (this.view.only !== null || this.view.isFiltered()) this.clear();
      return;
    }
    if (event.target.closest("input, select, textarea")) return;
    if (event.key === "j" || event.key === "k") this.move(event.key === "j" ? 1 : -1);
    else if (event.key === "/") this.search.focus();
    else return;
    event.preventDefault();
  }

  // A link names one question or image.
  follow() {
    const found = /^#([qc])=(.*)$/s.exec(location.hash);
    const view = found && Object.values(this.views).find((each) => each.key === found[1]);
    for (const each of Object.values(this.views)) each.only = null;
    if (!view) return this.show(this.view.name);
    const number = view.names.map(wellFormed).indexOf(decode(found[2]));
    view.only = number < 0 ? null : number;
    return this.show(view.name).then(() => {
      if (number < 0) this.status.textContent = `This page does not show the ${view.noun} of this link.`;
      else this.items.firstElementChild?.scrollIntoView({ block: "start" });
    });
  }

  leaveLink() {
    if (this.view.only === null && !location.hash) return;
    this.view.only = null;
    history.replaceState(null, "", location.pathname + location.search);
  }
}

let page;
load("overview").then((overview) => { page = new Page(overview); page.start(); }, (error) => {
  document.getElementById("main").append(make("p", { class: "message" }, error.message));
});
