// A judge: its grade and its words on a card beside the grade of the rules, and its figures for each context.
"use strict";

const GRADES = { correct: ["right", "✓ correct", "The judge calls the answer correct."], incorrect: ["wrong", "✗ incorrect", "The judge calls the answer incorrect."] };

// What the judge made of an answer, as [kind of the badge, words, explanation].
function judged({ grade, output }) {
  if (grade !== null) return GRADES[grade];
  return output === null ? ["failed", "! failed", "The judge gave no answer."]
    : ["unparsed", "? unscored", "The judge's words are neither correct nor incorrect."];
}

function judgeBadge(judgement) {
  const [kind, words, title] = judged(judgement);
  return make("span", { class: `badge ${kind}`, title }, `judge: ${words}`);
}

// The judge's words, closed where they are long.
function judgeTexts(judgement) {
  const label = make("div", { class: "label" }, judgeBadge(judgement), judgement.truncated && badge("truncated", "truncated"));
  if (judgement.output === null) return [label, fault(judgement)];
  return [label, judgement.thinking && folded("thinking of the judge", judgement.thinking),
    expandable(foreign("div", judgement.output, "output"), judgement.output, 240)].filter(Boolean);
}

const judgedShare = (figure) => (figure && figure.accuracy !== null ? [make("b", { class: "number" }, percent(figure.accuracy)),
  smallNumber(`${(100 * figure.accuracy_interval_95[0]).toFixed(1)} to ${(100 * figure.accuracy_interval_95[1]).toFixed(1)}`),
  figure.total !== undefined && smallNumber(`${counted(figure.correct)} of ${counted(figure.total)}`)] : ["–"]);
const smallNumber = (text) => make("span", { class: "interval number" }, text);
const kappa = ({ n, cohens_kappa: value }) => (n ? [value === null ? "–" : make("b", { class: "number" }, value.toFixed(2).replace("-", "−")), smallNumber(`n = ${counted(n)}`)] : ["–"]);

// The columns of a judge's figures: name, explanation, and what a cell has. Means over data sets have the first three alone.
const JUDGE_SHARES = [["rules", "The accuracy by the rules; a failed question is wrong", (of) => judgedShare(of.rules)],
  ["judge", "Of the answers that the judge called correct or incorrect", (of) => judgedShare(of.by_judge)],
  ["combined", "By the rules where they read the answer, and by the judge where they did not", (of) => judgedShare(of.combined)]];
const JUDGE_COUNTS = [["kappa", "Cohen's kappa, over the answers that the rules read and the judge graded", (of) => kappa(of.agreement)],
  ["asked", "Answers that the judge was asked about", (of) => [counted(of.by_judge.items)]],
  ["unscored", "Answers about which the judge's words are neither correct nor incorrect", (of) => [counted(of.by_judge.unscored)]],
  ["failed", "Answers about which the judge gave no answer", (of) => [counted(of.by_judge.failed)]]];
const JUDGE_COLUMNS = [...JUDGE_SHARES, ...JUDGE_COUNTS];

// Rows of a judge's figures below their heads, with a note.
function judgeTable(judge, rows, note) {
  return make("section", { class: "panel whole" }, make("h2", { class: "foreign" }, `Answers judged by ${judge}`),
    make("div", { class: "scrolls" }, make("table", { class: "grid judge" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, ""),
      ...JUDGE_COLUMNS.map(([name, title]) => make("th", { scope: "col", class: "count", title }, name)))), make("tbody", {}, ...rows))),
    make("p", { class: "small" }, foreign("span", note)));
}

// One row; `columns` are those that it has a cell in.
function judgeRow(head, figures, columns = JUDGE_COLUMNS) {
  const empty = JUDGE_COLUMNS.length - columns.length;
  return make("tr", {}, make("th", { scope: "row" }, ...head),
    ...figures ? columns.map(([name, , cell]) => make("td", { class: "count number", "data-label": name }, ...cell(figures)))
      : [make("td", { colspan: String(columns.length) }, "not judged: the run ended before, or the answers have changed since")],
    empty > 0 && make("td", { class: "filler", colspan: String(empty) }));
}

// Whether a row has anything of the judge: answers that it got, or that it was not asked yet.
const isJudged = (figures) => !figures || figures.by_judge.items > 0;
// On the rows that are left out, since all their figures are those of the rules.
const notJudged = (count) => (count ? `In ${count} ${count === 1 ? "context" : "contexts"} no answer had to be judged. ` : "");

// A row for each context with answers for the judge: the accuracies by the rules, by the judge and by both, and how far they agree.
function judgePanel(view) {
  const { columns, judge } = view.index;
  if (!judge) return null;
  const asked = columns.filter(({ judge: figures }) => isJudged(figures));
  const rows = asked.map(({ label, judge: figures }) => judgeRow([foreign("span", view.isCompared ? label : "all")], figures));
  return judgeTable(judge, rows, `${notJudged(columns.length - asked.length)}All else on this page is by the rules.`);
}

// The same of several data sets, which are judged where they have a judge: first the means over them, then each.
function judgeOfDataSets({ judge, data_sets: judged, averaged, averages }, dataSets) {
  const head = ({ model, context }) => [foreign("span", model), make("span", { class: "interval foreign" }, context)];
  const group = (child) => make("tr", { class: "group" }, make("th", { scope: "rowgroup", colspan: String(JUDGE_COLUMNS.length + 1) }, child));
  const means = averages.length ? [group(MACRO), ...averages.map((row) => judgeRow(head(row), row.figures, JUDGE_SHARES))] : [];
  const rows = judged.flatMap(({ name, rows: sets }) => {
    const asked = sets.filter(({ figures }) => isJudged(figures)), out = sets.length - asked.length;
    const rest = out ? [make("tr", {}, make("td", { class: "unjudged", colspan: String(JUDGE_COLUMNS.length + 1) }, notJudged(out).trim()))] : [];
    return [group(pageLink(dataSets.find((one) => one.name === name))), ...asked.map((row) => judgeRow(head(row), row.figures)), ...rest];
  });
  const note = averages.length ? `The macro averages are the means over ${averaged.join(", ")}, in the contexts in which all of them are asked; each data set has the weight 1, and the intervals are by MOVER. ` : "";
  return judgeTable(judge, [...means, ...rows], `${note}By the rules a failed question is wrong here. All else on this page is by the rules alone, and leaves failed questions out.`);
}
