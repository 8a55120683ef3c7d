// Questions that are asked more than once: their answers on a card, and their figures.
"use strict";

const DECIDED = { majority: "the most frequent answer counts", tie: "two answers are as frequent, so none counts",
  circular: "right only if right in each rotation", none: "no answer could be read" };

// The answers to one question, closed at first.
function foldedRounds({ rounds, decided_by: rule, votes }) {
  const right = rounds.filter((one) => one.status === "right").length, hasSamples = rounds.some((one) => one.sample > 1);
  const isGraded = rounds.some((one) => one.status !== "ungraded");
  const said = Object.entries(votes).map(([answer, count]) => `${answer} ×${count}`).join(", ");
  const summary = [plural(rounds.length, "answer"), isGraded && `${right} right`, DECIDED[rule]].filter(Boolean).join(" · ");
  const rows = rounds.map((one) => make("tr", {}, make("td", { class: "count number" }, hasSamples ? `${one.round} / ${one.sample}` : String(one.round)),
    make("td", { class: "order" }, one.order ?? "as in the file"), make("td", {}, one.letter && make("span", { class: "letter-read" }, one.letter),
      badge(one.status, `${SIGNS[one.status]} ${WORDS[one.status]}`), one.truncated && badge("truncated", "truncated")),
    make("td", { class: "wide" }, expandable(foreign("div", one.output), one.output, 300))));
  const heads = [hasSamples ? "round / sample" : "round", "order", "read", "output"];
  return make("details", { class: "folded rounds" }, make("summary", {}, summary),
    said && make("p", { class: "small" }, foreign("span", `Answers: ${said}. Letters are those of the file's order.`)),
    make("div", { class: "scrolls" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head, n) => make("th", { scope: "col", class: n ? null : "count" }, head)))),
      make("tbody", {}, ...rows))));
}

// What the answers to the same questions say together: a row for each context.
function repeatsPanel(view) {
  const columns = view.index.columns.filter((column) => column.repeats?.questions), isCircular = view.index.is_circular;
  if (!columns.length) return null;
  const share = (value, interval) => make("td", { class: "count" }, value === null ? "–" : make("b", { class: "number" }, percent(value)),
    interval && make("span", { class: "interval number" }, `${(100 * interval[0]).toFixed(1)} to ${(100 * interval[1]).toFixed(1)}`));
  const spread = (of) => make("td", { class: "count number" }, of ? `${percent(of.lowest)} to ${percent(of.highest)}` : "–");
  const hasRounds = columns.some(({ repeats }) => repeats.spread_over_rounds), hasSamples = columns.some(({ repeats }) => repeats.spread_over_samples);
  const ks = [...new Set(columns.flatMap(({ repeats }) => Object.keys(repeats.pass_at)))].filter((k, n, all) => k > 1 && (all.length <= 4 || n === all.length - 1 || k < 3));
  const rows = columns.map(({ label, repeats }) => make("tr", {}, make("th", { scope: "row" }, foreign("span", view.isCompared ? label : "all"),
    make("span", { class: "interval" }, `${plural(repeats.questions, "question")}, ${plural(repeats.requests, "request")}${repeats.failed_requests ? `, ${counted(repeats.failed_requests)} failed` : ""}`)),
  share(repeats.first_accuracy), share(repeats.mean_accuracy, repeats.mean_accuracy_interval_95), share(repeats.decided_accuracy, repeats.decided_accuracy_interval_95),
  share(repeats.consistency, repeats.consistency_interval_95), hasRounds && spread(repeats.spread_over_rounds), hasSamples && spread(repeats.spread_over_samples),
  ...ks.map((k) => share(repeats.pass_at[k] ?? null))));
  const heads = [["first answer", "By the first answer alone"], ["mean", "The mean over questions of the share of right answers"],
    isCircular ? ["CircularEval", "Right only if right in each rotation of the choices"] : ["majority", "By the most frequent answer of each question"],
    ["consistency", "The share of questions all answers to which say the same"],
    ...hasRounds ? [["over rounds", "The lowest and the highest accuracy of a round"]] : [], ...hasSamples ? [["over samples", "The lowest and the highest accuracy of a sample"]] : [],
    ...ks.map((k) => [`pass@${k}`, `The share of questions of which one of ${k} answers is right`])];
  return make("section", { class: "panel whole" }, make("h2", {}, "Questions that were asked more than once"),
    make("div", { class: "scrolls" }, make("table", { class: "grid" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, ""),
      ...heads.map(([name, title]) => make("th", { scope: "col", class: "count", title }, name)))), make("tbody", {}, ...rows))));
}
