// All failures as rows of text, where the page shows a sample of the items. Files of rows are loaded when they are shown.
"use strict";

const SEARCHED_ROWS = 100000; // of more rows a search would load too much

class Failures extends View {
  constructor(index) {
    super("failures", index, index.counts.all);
    this.title = "Failures";
    this.noun = "failure";
    this.names = [];
    this.key = null;
    this.list = "rows";
    this.hasSearch = this.length <= SEARCHED_ROWS;
    let start = 0; // the rows are sorted by file and reason
    this.groups = index.groups.map((group) => ({ ...group, start, end: (start += group.rows) }));
  }

  async item(number) {
    const [name, detail] = await super.item(number);
    return { name, detail, ...this.groupOf(number) };
  }

  groupOf(number) { return this.groups.find((group) => number < group.end); }

  text([name, detail]) { return `${name}\n${detail}`; }

  fits(number) {
    const { part, reason } = this.filter, group = this.groupOf(number);
    return (!part || group.part === part) && (!reason || group.reason === reason);
  }

  selects() {
    return ["part", "reason"].map((key) => {
      const names = [...new Set(this.groups.map((group) => group[key]))].sort();
      return names.length > 1 && choice(this, key, names, key === "part" ? "any file" : "any reason");
    }).filter(Boolean);
  }

  panels() {
    const rows = this.groups.map((group) => make("tr", {}, make("td", {}, foreign("span", group.part)), make("td", {}, group.reason),
      make("td", { class: "count" }, make("button", { type: "button", class: "plain number",
        onclick: () => page.setFilter({ part: group.part, reason: group.reason }) }, counted(group.rows)))));
    return [make("section", { class: "panel whole" }, make("h2", {}, "Failures by file and reason"), make("div", { class: "scrolls" },
      make("table", {}, make("tbody", {}, ...rows))))];
  }

  tiles() { return []; }

  card(item) {
    return make("article", { class: "failure", tabindex: "-1", "aria-label": `Failure of ${item.name}` },
      foreign("span", item.name, "link"), make("span", { class: "badge failed" }, `${item.part}: ${item.reason}`), foreign("p", item.detail));
  }
}
