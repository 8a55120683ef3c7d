// The page of several data sets: one table of models, data sets and contexts, and the ways to the page of each data set.
"use strict";

const MACRO = "macro average";
const LEFT_OUT = { no_ground_truth: "no ground truth", not_asked: "not asked", nothing_graded: "no graded answer" };

class DataSetsPage extends Page {
  start() {
    const { data_sets: dataSets, rows, differences, judge, is_unfinished: isUnfinished } = this.overview;
    const title = plural(dataSets.length, "data set"), models = new Set(rows.map((row) => row.model));
    document.title = `${title} · captionqa results`;
    const header = document.getElementById("header"), panels = make("div", { class: "panels" });
    header.append(make("h1", {}, models.size > 1 ? `${plural(models.size, "model")} on ${title}` : title));
    if (isUnfinished) {
      header.append(make("p", { class: "note", role: "note" }, make("b", {}, "This run is not finished. "),
        "The page of each data set shows what is answered so far. The same command goes on and makes this page anew."));
    }
    header.append(this.facts(), panels);
    const asked = dataSets.filter((dataSet) => dataSet.has_questions);
    if (rows.length) panels.append(gridPanel(rows, asked));
    if (judge) panels.append(judgeOfDataSets(judge, dataSets));
    const between = (kind) => differences.filter((one) => (one.a.context === one.b.context) === (kind === "models"));
    for (const [kind, found] of [["models", between("models")], ["contexts", between("contexts")]]) {
      if (found.length) panels.append(gridDifferences(kind, found, asked));
    }
    panels.append(dataSetsPanel(dataSets));
    if (this.overview.parts.length) header.append(runPanel(this.run, this.overview.parts, this.servers(), this.ran()));
  }

  facts() {
    const { data_sets: dataSets, rows } = this.overview, contexts = [...new Set(rows.map((row) => row.context))];
    const sum = (key) => dataSets.reduce((all, one) => all + one[key], 0);
    const facts = [sum("questions") && plural(sum("questions"), "question"), sum("images") && `${plural(sum("images"), "image")} captioned`,
      ...contexts.length > 1 ? [`in ${contexts.length} contexts`] : contexts];
    return make("p", { class: "facts" }, ...facts.filter(Boolean).map((fact) => foreign("span", fact)));
  }
}

const pageLink = (dataSet) => (dataSet.page ? make("a", { class: "foreign", dir: "auto", href: dataSet.page, title: `The results on ${dataSet.name}` }, dataSet.name) : foreign("span", dataSet.name));

// A row for each model in each context, a column for each data set.
function gridPanel(rows, dataSets) {
  const isAveraged = rows.some((row) => row.not_averaged !== null);
  const heads = [make("th", { scope: "col" }, "model"), isAveraged && make("th", { scope: "col", class: "drawing" }, ""),
    isAveraged && make("th", { scope: "col", class: "count", title: "The mean of the accuracies on the data sets, each with the weight 1" }, MACRO),
    ...dataSets.map((dataSet) => make("th", { scope: "col", class: "count" }, pageLink(dataSet)))];
  const body = [...new Set(rows.map((row) => row.context))].flatMap((context) => [
    make("tr", { class: "group" }, make("th", { scope: "rowgroup", colspan: String(heads.filter(Boolean).length) }, foreign("span", context))),
    ...rows.filter((row) => row.context === context).map((row) => make("tr", {}, make("th", { scope: "row" }, foreign("span", row.model)),
      isAveraged && make("td", { class: "drawing" }, row.macro && track(row.macro.share, row.macro.interval)),
      isAveraged && make("td", { class: "count", "data-label": MACRO }, ...row.macro ? share(row.macro) : missing(row.not_averaged)),
      ...row.cells.map((cell, number) => make("td", { class: "count", "data-label": dataSets[number].name, title: cell && `${counted(cell.correct)} of ${counted(cell.graded)} right${interval95(cell.interval)}` },
        ...cell === null ? ["–"] : [...share(cell), cell.failed > 0 && badge("failed", `! ${counted(cell.failed)} failed`)]))))]);
  const notes = ["Of the questions that were answered; those that failed are counted beside it. The 95\u00a0% intervals count questions on one image as dependent."];
  if (isAveraged) notes.unshift(averagedNote(rows, dataSets));
  return make("section", { class: "panel whole" }, make("h2", {}, "Accuracy by model, context and data set"),
    make("div", { class: "scrolls" }, make("table", { class: "grid" }, make("thead", {}, make("tr", {}, ...heads.filter(Boolean))), make("tbody", {}, ...body))),
    ...notes.map((note) => make("p", { class: "small" }, foreign("span", note))));
}

const share = ({ share: value, interval }) => (value === null ? ["–"] : [make("b", { class: "number" }, percent(value)),
  interval && make("span", { class: "interval number" }, `${(100 * interval[0]).toFixed(1)} to ${(100 * interval[1]).toFixed(1)}`)]);

const missing = (leftOut) => ["–", make("span", { class: "interval reason" }, Object.entries(leftOut).map(([name, reason]) => `${name}: ${LEFT_OUT[reason]}`).join("; "))];

function averagedNote(rows, dataSets) {
  const whole = rows.find((row) => row.macro), averaged = whole ? dataSets.map(({ name }) => name).filter((name) => !(name in whole.not_averaged)) : [];
  const without = whole ? Object.entries(whole.not_averaged).map(([name, reason]) => `${name} is left out: ${LEFT_OUT[reason]}.`) : [];
  return whole ? [`The macro average is the mean over ${averaged.join(", ")}; each data set has the weight 1, and the interval is by MOVER.`, ...without].join(" ")
    : "There is no macro average: no model has a graded answer on all data sets.";
}

// The paired differences: their mean over the data sets, drawn, and that on each.
function gridDifferences(kind, differences, dataSets) {
  const isAveraged = differences.some((one) => one.not_averaged !== null), several = dataSets.length > 1;
  const reach = Math.max(0.05, ...differences.flatMap((one) => (one.macro ? one.macro.interval_95.map(Math.abs) : [])));
  const rows = differences.map((one) => make("tr", {}, make("th", { scope: "row", class: "foreign", dir: "auto" }, ...compared(one)),
    isAveraged && make("td", { class: "drawing" }, one.macro && pairTrack(one.macro, reach)),
    isAveraged && make("td", { class: "count", "data-label": MACRO }, ...one.macro ? inPoints(one.macro) : missing(one.not_averaged)),
    ...one.of.map((found, number) => make("td", { class: "count", "data-label": dataSets[number].name }, ...found === null ? ["–"] : [...inPoints(found),
      make("span", { class: `interval number${found.p_by_image_holm < 0.05 ? " clear" : ""}`, title: "A sign-flip test in which all questions on one image turn together; corrected by Holm" },
        `p ${pValue(found.p_by_image_holm)}`)]))));
  const heads = [make("th", { scope: "col" }, "A − B"), isAveraged && make("th", { scope: "col", class: "drawing" }, ""),
    isAveraged && make("th", { scope: "col", class: "count" }, MACRO), ...dataSets.map((dataSet) => make("th", { scope: "col", class: "count" }, pageLink(dataSet)))];
  return make("section", { class: "panel whole" }, make("h2", {}, `Paired differences between ${kind}, in points`),
    make("div", { class: "scrolls" }, make("table", { class: "grid" }, make("thead", {}, make("tr", {}, ...heads.filter(Boolean))), make("tbody", {}, ...rows))),
    make("p", { class: "small" }, `Over the questions that both answered. p is that by image, corrected by Holm for all differences${several ? " on all data sets" : ""}.`));
}

const inPoints = ({ difference, interval_95: [low, high] }) => [make("b", { class: "number" }, points(difference)),
  make("span", { class: "interval number" }, `${points(low)} to ${points(high)}`)];

// What a difference is between: two models in a context, two contexts of a model, or both.
function compared({ a, b }) {
  if (a.context === b.context) return [`${a.model} − ${b.model}`, make("span", { class: "interval" }, a.context)];
  if (a.model === b.model) return [`${a.context} − ${b.context}`, make("span", { class: "interval" }, a.model)];
  return [`${a.context} − ${b.context}`, make("span", { class: "interval" }, `${a.model} − ${b.model}`)];
}

// What each data set is, with the link to its page.
function dataSetsPanel(dataSets) {
  return make("section", { class: "panel whole" }, make("h2", {}, "Data sets"), make("div", { class: "data-sets" }, ...dataSets.map((dataSet) => {
    const facts = [dataSet.questions && plural(dataSet.questions, "question"), dataSet.images && `${plural(dataSet.images, "image")} captioned`,
      dataSet.failed && `${counted(dataSet.failed)} failed`,
      dataSet.majority && `always answering ${dataSet.majority.answer} would be right in ${percent(dataSet.majority.share)}`];
    return make("div", { class: "data-set" }, make("b", {}, pageLink(dataSet)), make("p", { class: "facts" }, ...facts.filter(Boolean).map((fact) => foreign("span", fact))),
      dataSet.page && make("a", { href: dataSet.page }, dataSet.has_questions ? "questions, answers and images" : "captions and images"));
  })));
}
