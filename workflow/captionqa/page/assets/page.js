// The page: the overview above, and below it the list of one view.
"use strict";

const BATCH = 20; // cards that are added at a time
const MANY_GROUPS = 8; // categories that are shown at first

class Page {
  constructor(overview, run) {
    this.overview = overview;
    this.run = run;
    this.views = {};
    if (overview.questions) this.views.questions = new Questions(overview.questions);
    if (overview.captions) this.views.captions = new Captions(overview.captions);
    if (overview.flips) this.views.flips = new Flips(overview.flips);
    if (overview.failures) this.views.failures = new Failures(overview.failures);
    this.view = Object.values(this.views)[0];
    this.round = 0; // of filtering; a list that was begun in an earlier one goes on no more
  }

  start() {
    const { model, comparison, unfinished, data_set: dataSet } = this.overview;
    const models = this.models();
    const answering = () => models.length > 1 ? plural(models.length, "model") : model.name; // a comparison has no model
    const title = comparison ? "Two runs compared" : answering() + (dataSet ? ` on ${dataSet}` : "");
    document.title = comparison ? title : `${title} · captionqa results`;
    this.header = document.getElementById("header");
    this.main = document.getElementById("main");
    this.panels = make("div");
    this.header.append(foreign("h1", title));
    if (unfinished) this.header.append(unfinishedNote(unfinished));
    this.header.append(comparison ? this.leftOut() : this.facts(), this.panels);
    if (!comparison) this.header.append(runPanel(this.run, this.overview.parts, this.servers(), this.ran()));
    for (const view of Object.values(this.views)) {
      if (view.length < view.index.counts.all) this.header.append(sampledNote(view, this.overview));
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

  // What a comparison leaves out.
  leftOut() {
    const { left_out: leftOut, answered_by_both: both } = this.overview.comparison;
    const words = { only_in_a: "only in A", only_in_b: "only in B", failed_in_a: "failed in A", failed_in_b: "failed in B", ungraded: "without a ground truth",
      another_question_or_ground_truth: "with another text or ground truth" };
    const facts = [`${plural(both.questions, "question")} compared`, ...Object.entries(leftOut).filter(([, number]) => number)
      .map(([key, number]) => `${counted(number)} ${words[key]} left out`)];
    return make("p", { class: "facts" }, ...facts.map((fact) => make("span", {}, fact)));
  }

  // The models that answer the questions.
  models() { return [...new Set((this.overview.questions?.columns ?? []).map((column) => column.model))]; }

  servers() {
    const { servers } = this.overview.model;
    return servers.length ? [`vLLM ${servers.join(", ")}`] : [];
  }

  facts() {
    const { parts, questions, captions } = this.overview;
    const data = [...new Set(parts.flatMap((part) => part.data))];
    const begun = Math.min(...parts.map((part) => Date.parse(part.started)));
    const ended = Math.max(...parts.map((part) => Date.parse(part.started) + 1000 * part.seconds));
    const models = this.models(), contexts = new Set((questions?.columns ?? []).map((column) => column.context));
    const facts = [
      models.length > 1 && models.join(", "),
      questions && plural(questions.counts.all, "question") + (contexts.size > 1 ? ` in ${contexts.size} contexts` : ""),
      captions && `${plural(captions.counts.all, "image")} in ${plural(captions.styles.length, "prompt style")}`,
      data.length && data.map((path) => path.split("/").filter(Boolean).pop() ?? path).join(", "),
      !this.overview.unfinished && `asked in ${duration((ended - begun) / 1000)}, ${time(new Date(begun).toISOString())} UTC`,
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
    const facts = [`model ${model.path}`, ...[...new Set(parts.flatMap((part) => part.data))].map((path) => `data ${path}`), ...this.servers(),
      `captionqa ${model.captionqa}${model.commit ? ` (${model.commit.slice(0, 8)})` : ""}`, `page made ${time(made)} UTC`];
    return make("details", { class: "ran" }, make("summary", {}, "What ran: settings, times, tokens"),
      make("table", {}, make("thead", {}, make("tr", {}, ...heads.map(([text, css]) => make("th", { class: css || null, scope: "col" }, text)))),
        make("tbody", {}, ...rows)),
      make("p", { class: "facts" }, ...facts.map((fact) => foreign("span", fact))));
  }

  buildPanels() {
    const view = this.view, index = view.index, box = make("div", { class: "panels" });
    const tiles = make("div", { class: "tiles", role: "group", "aria-label": "Filter by what became of it" }, ...view.tiles().map((kind) => {
      const count = view.counts[kind] || 0, pressed = kind === "all" ? !view.filter.status : view.filter.status === kind;
      return make("button", { class: `tile ${kind}`, type: "button", "aria-pressed": String(pressed), title: EXPLAINED[kind],
        disabled: !count && kind !== "all",
        onclick: () => this.setFilter({ status: kind === "all" || view.filter.status === kind ? "" : kind }) },
      make("b", { class: "number" }, counted(count)), make("span", {}, WORDS[kind]));
    }));
    if (view.name === "questions") {
      const { categories, sources } = index.columns[0];
      this.group ??= categories.length > 1 || sources.length < 2 ? "category" : "source";
    }
    box.append(...view.panels(tiles));
    this.panels.replaceChildren(box);
  }

  // The accuracy of a column by category or source.
  groupPanel(column, isNamed) {
    const both = column.categories.length > 1 && column.sources.length > 1;
    const groups = this.group === "category" ? column.categories : column.sources;
    // a comparison has no sources: theirs are of the metrics
    const countedAs = this.group === "source" && column.leaves_out_failed ? "; here a failed question is wrong" : "";
    const heading = make("h2", {}, `Accuracy by ${this.group}${isNamed ? `, with ${column.label}` : ""}${countedAs}`, both && make("button", { class: "plain", type: "button",
      onclick: () => { this.group = this.group === "category" ? "source" : "category"; this.buildPanels(); } },
    `show by ${this.group === "category" ? "source" : "category"}`));
    return this.barsPanel(heading, groups.map((group) => ({ name: group.name, drawing: track(group.accuracy, group.interval),
      share: group.graded ? `${Math.round(100 * group.accuracy)}%` : "–", of: `${counted(group.correct)} of ${counted(group.graded)}`,
      title: `${percent(group.accuracy)}, ${group.correct} of ${group.graded} right${interval95(group.interval)}` })), this.group);
  }

  differencesPanel(comparison) {
    const groups = Object.entries(comparison.category_comparison);
    const reach = Math.max(0.05, ...groups.flatMap(([, outcome]) => outcome.difference_interval_95.map(Math.abs)));
    groups.sort(([, a], [, b]) => a.difference - b.difference);
    return this.barsPanel(make("h2", {}, "B − A in points by category; right only in A / only in B"), groups.map(([name, outcome]) => ({ name, drawing: differenceTrack(outcome, reach),
      share: points(outcome.difference), of: `${outcome.only_a_correct} / ${outcome.only_b_correct}`,
      title: `${points(outcome.difference)} points; right only in A ${outcome.only_a_correct}, only in B ${outcome.only_b_correct}, of ${outcome.questions}` })), "category");
  }

  // A panel of bars, of which the first few are shown at first.
  barsPanel(heading, groups, column) {
    const chosen = this.view.filter[column];
    const all = this.allGroups || groups.length <= MANY_GROUPS + 1 ? groups : groups.filter((group, n) => n < MANY_GROUPS || group.name === chosen);
    const panel = make("section", { class: "panel" }, heading, bars(all, chosen, (name) => this.setFilter({ [column]: name })));
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
    view.title)));
    this.search.disabled = !this.view.hasSearch;
    this.search.placeholder = this.view.hasSearch ? "Search the texts" : "Too many to search";
    return this.refresh();
  }

  // Show the counts, the groups and the order of another context.
  showColumn(number) {
    this.view.column = number;
    Object.assign(this.view.filter, { status: "", rule: "" });
    this.leaveLink();
    this.selects.replaceChildren(...this.view.selects());
    return this.refresh();
  }

  // What somebody types stays in its field; all else is shown there.
  setFilter(changed, isClick = false) {
    Object.assign(this.view.filter, changed);
    this.leaveLink();
    if (isClick || !["text", "path", "from", "to"].some((key) => key in changed)) this.selects.replaceChildren(...this.view.selects());
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
    const ofAll = view.isCompared && view.length < view.index.counts.all && flipsOfAll(view);
    this.status.replaceChildren(make("span", { class: "number" }, text), ...reset ? [reset] : [], ...ofAll ? [make("span", {}, ofAll)] : [],
      make("span", { class: "keys" }, key("j", "next"), key("k", "previous"), key("/", "search"), key("Esc", "show all")));
  }

  // Add the next cards; while some are on their way, it is these that are waited for.
  more() {
    if (this.adding?.round !== this.round) this.adding = { round: this.round, cards: this.addCards(this.round, this.view) };
    return this.adding.cards;
  }

  async addCards(round, view) {
    try {
      do {
        const items = await Promise.all(view.matches.slice(this.shown, this.shown + BATCH).map((number) => view.item(number)));
        if (round !== this.round) return;
        this.items.append(...items.map((item) => view.card(item, this)));
        this.shown += items.length;
        if (!view.matches.length) this.ending.textContent = `No ${view.noun} fits these filters.`;
        else if (this.shown >= view.matches.length) this.ending.textContent = view.only === null ? "That is all." : "";
        else this.ending.replaceChildren(make("button", { class: "button", type: "button", onclick: () => this.more() }, "Show more"));
      } while (this.shown < view.matches.length && this.ending.getBoundingClientRect().top < innerHeight + 900);
    } catch (error) {
      this.status.textContent = error.message; // and no further: trying again would fail again
    } finally { if (this.adding?.round === round) this.adding = null; }
  }

  async move(step) {
    const next = this.current + step, round = this.round;
    if (next < 0 || next >= this.view.matches.length) return;
    while (next >= this.shown) {
      const { shown } = this;
      await this.more();
      if (this.round !== round || this.shown === shown) return; // another list is there by now, or a file is missing
    }
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
