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

// A row for each context: the accuracies by the rules, by the judge and by both, and how far they agree.
function judgePanel(view) {
  const { columns, judge } = view.index;
  if (!judge) return null;
  const small = (text) => make("span", { class: "interval number" }, text);
  const share = ({ accuracy, correct, total, accuracy_interval_95: interval }) => (accuracy === null ? ["–"] : [make("b", { class: "number" }, percent(accuracy)),
    small(`${(100 * interval[0]).toFixed(1)} to ${(100 * interval[1]).toFixed(1)}`), small(`${counted(correct)} of ${counted(total)}`)]);
  const kappa = ({ n, cohens_kappa: value }) => (n ? [value === null ? "–" : make("b", { class: "number" }, value.toFixed(2)), small(`n = ${counted(n)}`)] : ["–"]);
  const heads = [["rules", "The accuracy by the rules; a failed question is wrong", (of) => share(of.rules)],
    ["judge", "Of the answers that the judge called correct or incorrect", (of) => share(of.by_judge)],
    ["combined", "By the rules where they read the answer, and by the judge where they did not", (of) => share(of.combined)],
    ["kappa", "Cohen's kappa, over the answers that the rules read and the judge graded", (of) => kappa(of.agreement)],
    ["asked", "Answers that the judge was asked about", (of) => [counted(of.by_judge.items)]],
    ["unscored", "Answers about which the judge's words are neither correct nor incorrect", (of) => [counted(of.by_judge.unscored)]],
    ["failed", "Answers about which the judge gave no answer", (of) => [counted(of.by_judge.failed)]]];
  const rows = columns.map(({ label, judge: metrics }) => make("tr", {}, make("th", { scope: "row" }, foreign("span", view.isCompared ? label : "all")),
    ...metrics ? heads.map(([name, , cell]) => make("td", { class: "count number", "data-label": name }, ...cell(metrics)))
      : [make("td", { colspan: String(heads.length) }, "not judged: the run ended before, or the answers have changed since")]));
  return make("section", { class: "panel whole" }, make("h2", { class: "foreign" }, `Answers judged by ${judge}`),
    make("div", { class: "scrolls" }, make("table", { class: "grid judge" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, ""),
      ...heads.map(([name, title]) => make("th", { scope: "col", class: "count", title }, name)))), make("tbody", {}, ...rows))),
    make("p", { class: "small" }, "All else on this page is by the rules."));
}
