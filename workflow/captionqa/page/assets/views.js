// The lists of the page: questions, captions, and the questions that two runs answered differently.
"use strict";

// Views: what questions and captions have in common is a list of item numbers that filters make smaller.

class View {
  constructor(name, index, length) {
    this.name = name;
    this.index = index;
    this.length = length;
    this.hasSearch = true;
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

  // Whether an item has the value that is chosen for each of these columns.
  agrees(number, columns) {
    return columns.every((column) => !this.filter[column] ||
      this.index[column].names[this.index[column].of[number]] === this.filter[column]);
  }

  selects() {
    return this.columns.filter((column) => this.index[column].names.length > 1)
      .map((column) => choice(this, column, this.index[column].names));
  }

  // The buttons of a card that filter by what it has in a column.
  chips(item, columns) {
    return columns.filter((column) => this.index[column].names.length > 1).map((column) =>
      make("button", { class: "chip foreign", type: "button", title: `Only this ${column}`,
        onclick: () => page.setFilter({ [column]: item[column] }) }, item[column]));
  }

  link(name) {
    return make("a", { class: "link foreign", href: `#${this.key}=${encode(name)}`, title: `A link to this ${this.noun} alone` }, name);
  }

  get counts() { return this.index.counts; }

  isFiltered() { return Object.values(this.filter).some((value) => value !== "" && value !== undefined); }

  // What somebody searches for.
  words() { return (this.filter.text || "").toLowerCase().split(/\s+/).filter(Boolean); }

  find() {
    const words = this.words();
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
    this.title = "Questions";
    this.noun = "question";
    this.names = index.qids;
    this.key = "q";
    this.list = "cards";
    this.columns = ["category", "source", "rule"];
    this.column = 0; // whose answers the counts, the groups and the filters are about
  }

  get isCompared() { return this.index.columns.length > 1; }

  get counts() { return this.index.columns[this.column].counts; }

  status(number, column = this.column) { return STATUSES[this.index.status[column][number]]; }

  text(item) {
    const given = item.answers.filter(Boolean).flatMap((answer) => [answer.output, answer.detail, answer.judge?.output, ...answer.captions ?? [], ...roundTexts(answer)]);
    const parts = [item.qid, item.question, item.category, item.source, ...given];
    return [...parts, ...item.choices, ...item.truth, ...item.images.map((image) => image.name)].join("\n");
  }

  fits(number) {
    const { status, rule, right, wrong } = this.filter, index = this.index;
    if (status && (status === "truncated" ? index.truncated[this.column][number] !== "1" : this.status(number) !== status)) return false;
    if (rule && index.rule.names[index.rule.of[this.column][number]] !== rule) return false;
    if (right && this.status(number, right) !== "right") return false;
    if (wrong && !MISSED.includes(this.status(number, wrong))) return false;
    return this.agrees(number, ["category", "source"]);
  }

  // The answers of the first column decide the order; those of another are sorted by it.
  find() {
    super.find();
    if (!this.column) return;
    const statuses = this.index.status[this.column], place = (number) => (statuses[number] === "-" ? STATUSES.length : Number(statuses[number]));
    this.matches.sort((a, b) => place(a) - place(b) || a - b);
  }

  // What only some runs have has a tile where there is any.
  tiles() {
    const rare = (kind) => (this.counts[kind] ? [kind] : []);
    return ["all", "right", "wrong", ...rare("tie"), ...rare("inconsistent"), "unparsed", "failed", "truncated", ...rare("ungraded")];
  }

  selects() { return [...this.isCompared ? flipSelects(this) : [], ...super.selects()]; }

  panels(tiles) {
    const column = this.index.columns[this.column];
    const panels = [this.isCompared ? contextsPanel(this, tiles) : accuracyPanel(column, tiles), page.groupPanel(column, this.isCompared)];
    return [...panels, judgePanel(this), repeatsPanel(this), this.index.differences.length > 0 && pairsPanel(this)].filter(Boolean);
  }

  card(item) {
    const number = this.names.indexOf(item.qid), what = WORDS[this.status(number)] ?? "not answered yet", [answer] = item.answers;
    const badges = this.isCompared ? contextBadges(this.index.columns, item.answers)
      : [statusBadge(answer), answer.truncated && badge("truncated", "truncated"),
        answer.judge && judgeBadge(answer.judge)];
    const head = make("div", { class: "head" }, ...badges, this.link(item.qid), ...this.chips(item, ["category", "source"]));
    if (this.isCompared) {
      const body = questionBody(item, Object.fromEntries(this.index.columns.map(({ label }, n) => [label, item.answers[n]?.letter])));
      body.append(contextAnswers(this.index.columns, item.answers));
      return questionCard(item, what, head, body);
    }
    const body = questionBody(item, { model: answer.letter });
    body.append(...answerTexts(answer, this.index.columns[0].scoring));
    return questionCard(item, what, head, body);
  }
}

// What an answer says: the captions that it is about, its output with the rule that read it, or why there is none.
function answerTexts(answer, scoring) {
  const captions = (answer.captions ?? []).flatMap((caption, number, all) => caption === null ? [] :
    [make("div", { class: "label" }, all.length > 1 ? `caption read of image ${number + 1}` : "caption read"), expandable(foreign("div", caption, "caption"), caption, 240)]);
  if (answer.output === null) return [...captions, fault({ reason: answer.rule, detail: answer.detail })];
  const thinking = answer.thinking ? [folded("thinking", answer.thinking)] : [];
  return [...captions, ...thinking, make("div", { class: "label" }, "output", ...askedOrder(answer), rule(answer, scoring)),
    expandable(foreign("div", answer.output, "output"), answer.output),
    ...answer.fallback_letter ? [make("p", { class: "label" }, `asked for the letter alone: ${answer.fallback_letter}`)] : [],
    ...answer.rounds ? [foldedRounds(answer)] : [], ...answer.judge ? judgeTexts(answer.judge) : []];
}

function rule(answer, scoring) {
  const score = PARTIAL.includes(scoring) && answer.score !== null ? ` · score ${+answer.score.toFixed(3)}` : "";
  return make("span", { class: "rule", title: RULES[answer.rule] }, `rule: ${answer.rule}${score}`);
}

// The question with its choices, of which `letters` names those that were read: {who: letter}.
function questionBody(item, letters) {
  const body = make("div", {}, foreign("p", item.question, `question${item.question.length > LONG_QUESTION ? " long" : ""}`));
  if (item.choices.length) body.append(choices(item, letters));
  if (item.truth.length && !(item.choices.length && item.truth_letter)) {
    body.append(make("p", { class: "truths" }, make("b", {}, "ground truth "), foreign("span", item.truth.join("  ·  "))));
  }
  return body;
}

function questionCard(item, what, head, body) {
  return make("article", { class: `panel card${item.images.length ? "" : " imageless"}`, tabindex: "-1",
    "aria-label": `Question ${item.qid}, ${what}` }, head, item.images.length > 0 && pictures(item.images), body);
}

const pictures = (images, link) => make("div", { class: `pictures${images.length > 1 ? " several" : ""}` },
  ...images.map((image) => picture(image, link)));

// The questions that one of two runs alone got right.
class Flips extends View {
  constructor(index) {
    super("flips", index, index.qids.length);
    this.title = "Questions";
    this.noun = "question";
    this.names = index.qids;
    this.key = "q";
    this.list = "cards";
    this.columns = ["category"];
  }

  text(item) { return [item.qid, item.question, item.a.output, item.b.output, item.category, ...item.choices, ...item.truth].join("\n"); }

  fits(number) {
    const { status } = this.filter;
    return (!status || this.index.direction[number] === status) && this.agrees(number, this.columns);
  }

  tiles() { return ["all", "only_a", "only_b"]; }

  panels(tiles) { return [differencePanel(page.overview.comparison, tiles), page.differencesPanel(page.overview.comparison)]; }

  card(item) {
    const head = make("div", { class: "head" }, badge(item.direction, WORDS[item.direction]), this.link(item.qid),
      ...this.chips(item, ["category"]));
    const body = questionBody(item, { "run A": item.a.letter, "run B": item.b.letter });
    body.append(make("div", { class: "answers" }, ...["a", "b"].map((key) => {
      const answer = item[key];
      return make("div", {}, make("div", { class: "label" }, key.toUpperCase(), statusBadge(answer),
        answer.truncated && badge("truncated", "truncated"), ...askedOrder(answer), rule(answer)), expandable(foreign("div", answer.output, "output"), answer.output));
    })));
    return questionCard(item, WORDS[item.direction], head, body);
  }
}

const fault = ({ reason, detail }) => make("div", { class: "fault" }, make("b", {}, reason), foreign("span", detail));

function choices(item, letters) {
  return make("ol", { class: "choices" }, ...item.choices.map((text, number) => {
    const letter = String.fromCharCode(65 + number), isTruth = letter === item.truth_letter;
    const readers = Object.keys(letters).filter((who) => letters[who] === letter), isMissed = readers.length > 0 && item.truth_letter && !isTruth;
    const css = `choice${isTruth ? " truth" : ""}${readers.length ? " read" : ""}${isMissed ? " missed" : ""}`;
    const tags = [...isTruth ? ["✓ ground truth"] : [], ...readers.map((who) => `${isMissed ? "✗ " : ""}${who}`)];
    return make("li", { class: css }, make("span", { class: "letter" }, letter), foreign("span", text),
      make("span", { class: "tags" }, ...tags.map((tag) => make("span", {}, tag))));
  }));
}

class Captions extends View {
  constructor(index) {
    super("captions", index, index.names.length);
    this.title = "Captions";
    this.noun = "image";
    this.names = index.names;
    this.key = "c";
    this.list = "gallery";
    this.columns = [];
    index.counts.duplicate ??= index.duplicate.filter(Boolean).length;
  }

  text(item) {
    return [item.name, ...item.captions.map((caption) => caption ? caption.text ?? caption.detail : "")].join("\n");
  }

  fits(number) {
    const { status, path, from, to } = this.filter;
    if (status && !this.index[status][number]) return false;
    if (path && !this.names[number].toLowerCase().includes(path.toLowerCase())) return false;
    if (!from && !to) return true;
    return this.index.lengths[number].some((length) => length >= (from || 0) && length <= (to || Infinity));
  }

  tiles() { return ["all", "failed", "truncated", "duplicate"]; }

  panels(tiles) {
    return [make("section", { class: "panel" }, make("h2", {}, "Images"), tiles), lengthsPanel(this)];
  }

  selects() {
    const input = (key, label) => make("input", { type: "number", min: "0", step: "10", placeholder: "any", "aria-label": label,
      value: this.filter[key] || null, oninput: (event) => page.setFilter({ [key]: Number(event.target.value) || "" }) });
    const path = make("input", { type: "text", class: "path", placeholder: "Path has …", "aria-label": "Part of an image's path", spellcheck: "false",
      value: this.filter.path || null, oninput: (event) => page.setFilter({ path: event.target.value }) });
    return [path, make("label", {}, "characters", input("from", "The fewest characters of a caption"), "to",
      input("to", "The most characters of a caption"))];
  }

  card(item) {
    const number = this.names.indexOf(item.name);
    const first = item.captions.find(Boolean), reasons = new Set(item.captions.map((caption) => caption && caption.detail));
    const isSame = first && first.reason && reasons.size === 1; // of all styles
    const captions = isSame ? [fault(first)] : item.captions.flatMap((caption, style) => {
      if (!caption) return [];
      const length = caption.text === undefined ? "" : plural(caption.text.length, "character");
      const label = make("div", { class: "label" }, this.index.styles[style], make("span", { class: "number" }, length),
        caption.truncated && badge("truncated", "truncated"));
      if (caption.text === undefined) {
        return [label, fault(caption)];
      }
      const thinking = caption.thinking && folded("thinking", caption.thinking);
      return [label, thinking, expandable(foreign("div", caption.text, "output"), caption.text)];
    });
    const head = make("div", { class: "head" }, this.index.failed[number] && badge("failed", "! failed"),
      this.index.duplicate[number] && badge("duplicate", "duplicate"));
    return make("article", { class: "panel shot", tabindex: "-1", "aria-label": `Image ${item.name}` },
      pictures(item.images, `#c=${encode(item.name)}`),
      head.childElementCount > 0 && head, ...captions);
  }
}

function choice(view, column, names, any = `any ${column}`) {
  const chosen = view.filter[column] || "";
  const select = make("select", { "aria-label": `Filter by ${column}`,
    onchange: () => page.setFilter({ [column]: select.value === "" ? "" : names[Number(select.value)] }) },
  make("option", { value: "" }, any),
  // an answer that is not there yet has no rule
  ...names.map((name, number) => name && make("option", { value: String(number), selected: name === chosen }, name.slice(0, 80))));
  return select;
}

