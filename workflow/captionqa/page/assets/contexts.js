// The same questions in several contexts: with their images, with captions of them, with nothing.
"use strict";

const MISSED = ["wrong", "tie", "inconsistent", "unparsed"];

// One row for each context: its accuracy with its interval. The chosen one is what counts and groups are about.
function contextsPanel(view, tiles) {
  const { columns } = view.index, { unfinished } = page.overview, isOfModels = page.models().length > 1;
  const rows = columns.map((column, number) => ({ name: column.label, drawing: track(column.accuracy, column.interval),
    share: column.graded ? percent(column.accuracy) : "–",
    of: column.interval ? `${(100 * column.interval[0]).toFixed(1)} to ${percent(column.interval[1])}` : "",
    title: `${counted(column.correct)} of ${counted(column.graded)} right${interval95(column.interval)}`, number }));
  const panel = make("section", { class: "panel" }, make("h2", {}, unfinished ? "Accuracy of the answers so far" : isOfModels ? "Accuracy by model and context" : "Accuracy by context"),
    bars(rows, columns[view.column].label, (name, row) => page.showColumn(row.number), `bars contexts${isOfModels ? " models" : ""}`));
  if (columns.some((column) => PARTIAL.includes(column.scoring))) {
    panel.append(make("p", { class: "label" }, `mean score: ${columns.map((column) => `${column.label} ${percent(column.mean_score)}`).join(", ")}`));
  }
  if (columns[0].leaves_out_failed) {
    panel.append(make("p", { class: "small" }, "Of the questions that were answered. The 95\u00a0% intervals count questions on one image as dependent."));
  }
  panel.append(make("div", { class: "label" }, `Answers with ${columns[view.column].label}`), tiles);
  return panel;
}

// The paired differences, drawn on one scale; a count shows the questions behind it.
function pairsPanel(view) {
  const { columns, differences } = view.index;
  const reach = Math.max(0.05, ...differences.flatMap((one) => one.interval_95.map(Math.abs)));
  const rows = differences.map((one) => {
    const [a, b] = [columns[one.a].label, columns[one.b].label], [low, high] = one.interval_95;
    const flips = (right, wrong, count) => make("td", { class: "count flip" }, make("button", { type: "button", class: "plain number", disabled: !count,
      title: `Show the questions that are right with ${columns[right].label} and not with ${columns[wrong].label}`,
      onclick: () => page.setFilter({ right: String(right), wrong: String(wrong), status: "" }, true) }, counted(count)));
    const p = (value, css) => make("td", { class: `count number ${css}${value < 0.05 ? " clear" : ""}` }, pValue(value));
    return make("tr", {}, make("th", { scope: "row" }, `${a} − ${b}`), make("td", { class: "drawing" }, pairTrack(one, reach)),
      make("td", { class: "count number" }, points(one.difference)), make("td", { class: "count number between" }, `${points(low)} to ${points(high)}`),
      flips(one.a, one.b, one.only_a), flips(one.b, one.a, one.only_b), p(one.p_by_image_holm, "clustered"), p(one.p_holm, "unclustered"));
  });
  const head = (text, title, css = "") => make("th", { scope: "col", class: `count ${css}`, title }, text);
  const scale = make("tr", { class: "scale-row", "aria-hidden": "true" }, make("td"), make("td", { class: "drawing" },
    make("div", { class: "scale" }, make("span", {}, points(-reach)), make("span", {}, "0"), make("span", {}, points(reach)))), make("td", { colspan: "6" }));
  return make("section", { class: "panel whole" }, make("h2", {}, "Paired differences in points, over the questions that both answered"),
    make("div", { class: "scrolls" }, make("table", { class: "pairs" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "A − B"), make("th", { class: "drawing" }),
      head("points", "Accuracy of A minus accuracy of B, times 100"), head("95\u00a0% interval", "Questions on one image count as dependent", "between"),
      head("only A right", "The answer of A is right, and that of B is not", "flip"), head("only B right", "The answer of B is right, and that of A is not", "flip"),
      head("p by image", "A sign-flip test in which all questions on one image turn together; corrected by Holm"),
      head("p", "McNemar's exact test, as if all questions were independent; corrected by Holm", "unclustered"))), make("tbody", {}, ...rows, scale))),
    make("p", { class: "small" }, "p is corrected by Holm for all differences of the run. Cite “p by image” where several questions are about one image."));
}

function pairTrack(one, reach) {
  const place = (share) => 0.5 + share / reach / 2, mark = make("span", { class: "mark" });
  mark.style.left = `${100 * place(one.difference)}%`;
  return make("span", { class: "track centred", "aria-hidden": "true" }, whisker(place(one.interval_95[0]), place(one.interval_95[1])), mark);
}

// Two selects: what one context got right and another did not.
function flipSelects(view) {
  const { columns } = view.index;
  const select = (key, text) => {
    const element = make("select", { "aria-label": `${text} which context`, onchange: () => page.setFilter({ [key]: element.value }) },
      make("option", { value: "" }, "any"), ...columns.map(({ label }, number) =>
        make("option", { value: String(number), selected: view.filter[key] === String(number) }, label)));
    return make("label", {}, text, element);
  };
  return [make("div", { class: "flips" }, select("right", "right with"), select("wrong", "wrong with"))];
}

// Of a sampled page: how many of all questions the two selects mean, which the list may have a part of.
function flipsOfAll(view) {
  const { right, wrong } = view.filter, { patterns, columns } = view.index;
  if (!right && !wrong) return null;
  const is = (pattern, column, statuses) => !column || statuses.includes(STATUSES[pattern[column]]);
  const all = patterns.filter(([pattern]) => is(pattern, right, ["right"]) && is(pattern, wrong, MISSED)).reduce((sum, [, questions]) => sum + questions, 0);
  const parts = [right && `right with ${columns[right].label}`, wrong && `wrong with ${columns[wrong].label}`].filter(Boolean);
  return `${counted(all)} of all ${plural(view.index.counts.all, "question")} are ${parts.join(" and ")}`;
}

const contextBadges = (columns, answers) => answers.map((answer, number) => answer &&
  statusBadge(answer, columns[number].label));

// The answers of all contexts side by side.
function contextAnswers(columns, answers) {
  return make("div", { class: "answers contexts" }, ...answers.map((answer, number) => {
    const { label, scoring } = columns[number];
    if (!answer) return make("div", {}, make("div", { class: "label" }, make("b", {}, label), "not answered yet"));
    const read = answer.letter ? make("span", { class: `letter-read ${answer.status}` }, answer.letter) : null;
    return make("div", {}, make("div", { class: "label" }, make("b", {}, label), read,
      statusBadge(answer), answer.truncated && badge("truncated", "truncated")), ...answerTexts(answer, scoring));
  }));
}
