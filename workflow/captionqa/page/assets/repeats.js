// Questions that are asked more than once: their answers on a card, and their figures.
"use strict";

const DECIDED = { majority: "the most frequent answer counts", tie: "two answers are as frequent, so none counts",
  circular: "right only if right in each rotation", none: "no answer could be read" };

const roundTexts = ({ rounds = [] }) => rounds.map((one) => one.output);

// The order of the choices that the letters of an output are of, where it is not the file's.
const askedOrder = ({ order }) => (order ? [make("span", { class: "order",
  title: "The choices in the order in which they were asked, by their letters in the file; the output's letters are of this order" }, `asked as ${order}`)] : []);

// The answers to one question: closed, unless a word of the search is in these and not in the output above them.
function foldedRounds(answer) {
  const { output, rounds, decided_by: rule, votes } = answer, shown = output.toLowerCase(), texts = roundTexts(answer).join("\n").toLowerCase();
  const isFound = page.view.words().some((word) => texts.includes(word) && !shown.includes(word));
  const right = rounds.filter((one) => one.status === "right").length, hasSamples = rounds.some((one) => one.sample > 1);
  const isGraded = rounds.some((one) => one.status !== "ungraded"), unread = rounds.filter((one) => one.status === "unparsed").length;
  const said = Object.entries(votes).map(([answer, count]) => `${answer} ×${count}`).join(", ");
  const summary = [plural(rounds.length, "answer"), isGraded && `${right} right`, unread && `${unread} unparsed`, DECIDED[rule]].filter(Boolean).join(" · ");
  const lines = rounds.map((one) => make("li", {}, make("div", { class: "label" },
    make("span", { class: "number" }, `round ${one.round}${hasSamples ? `, sample ${one.sample}` : ""}`),
    one.letter && make("span", { class: `letter-read ${one.status}` }, one.letter), statusBadge(one),
    one.truncated && badge("truncated", "truncated"), one.order ? make("span", { class: "order", title: "The choices in the order in which they were asked, by their letters in the file" }, one.order) : null),
  expandable(foreign("div", one.output, "output"), one.output, 240)));
  return make("details", { class: "folded rounds", open: isFound }, make("summary", {}, summary),
    said && make("p", { class: "small" }, foreign("span", `Answers: ${said}. Letters are those of the file's order.`)), make("ol", {}, ...lines));
}

// What the answers to the same questions say together: a row for each context.
function repeatsPanel(view) {
  const columns = view.index.columns.filter((column) => column.repeats?.questions), isCircular = view.index.is_circular;
  if (!columns.length) return null;
  const share = (value, interval) => [value === null ? "–" : make("b", { class: "number" }, percent(value)),
    interval && make("span", { class: "interval number" }, `${(100 * interval[0]).toFixed(1)} to ${(100 * interval[1]).toFixed(1)}`)];
  const range = (of, all) => [of ? make("span", { class: "range" }, `${percent(of.lowest)} to ${percent(of.highest)}`) : "–",
    of && of.questions !== all && make("span", { class: "interval" }, `of ${plural(of.questions, "question")}`)];
  const some = (key) => columns.some(({ repeats }) => repeats[key]);
  const ks = [...new Set(columns.flatMap(({ repeats }) => Object.keys(repeats.pass_at)))].filter((k, n, all) => k > 1 && (all.length <= 4 || n === all.length - 1 || k < 3));
  const heads = [["first answer", "By the first answer alone", (of) => share(of.first_accuracy)],
    ["mean", "The mean over questions of the share of right answers", (of) => share(of.mean_accuracy, of.mean_accuracy_interval_95)],
    [...isCircular ? ["CircularEval", "Right only if right in each rotation of the choices"] : ["majority", "By the most frequent answer of each question"],
      (of) => share(of.decided_accuracy, of.decided_accuracy_interval_95)],
    ["consistency", "The share of questions all answers to which say the same", (of) => share(of.consistency, of.consistency_interval_95)],
    some("spread_over_rounds") && ["over rounds", "The lowest and the highest accuracy of a round, over the questions in all rounds", (of) => range(of.spread_over_rounds, of.questions)],
    some("spread_over_samples") && ["over samples", "The lowest and the highest accuracy of a sample, over the questions in all samples", (of) => range(of.spread_over_samples, of.questions)],
    ...ks.map((k) => [`pass@${k}`, `The share of questions of which one of ${k} answers is right`, (of) => share(of.pass_at[k] ?? null)])].filter(Boolean);
  const rows = columns.map(({ label, repeats }) => make("tr", {}, make("th", { scope: "row" }, foreign("span", view.isCompared ? label : "all"),
    make("span", { class: "interval" }, `${plural(repeats.questions, "question")}, ${plural(repeats.requests, "request")}${repeats.failed_requests ? `, ${counted(repeats.failed_requests)} failed` : ""}`)),
  ...heads.map(([name, , cell]) => make("td", { class: "count number", "data-label": name }, ...cell(repeats)))));
  return make("section", { class: "panel whole" }, make("h2", {}, "Questions that were asked more than once"),
    make("div", { class: "scrolls" }, make("table", { class: "grid" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, ""),
      ...heads.map(([name, title]) => make("th", { scope: "col", class: "count", title }, name)))), make("tbody", {}, ...rows))));
}
