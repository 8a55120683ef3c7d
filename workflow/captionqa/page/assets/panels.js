// The panels above the list: how good the answers are, how long the captions, and where the time of the run went.
"use strict";

const PARTIAL = ["vqa", "anls"]; // scorings with parts of a point
const SVG = "http://www.w3.org/2000/svg";

function track(share, interval) {
  const fill = make("span", { class: "fill" });
  fill.style.width = `${100 * share}%`;
  const line = make("span", { class: "track", "aria-hidden": "true" }, fill);
  if (interval) line.append(whisker(interval[0], interval[1]));
  return line;
}

function whisker(from, to) {
  const element = make("span", { class: "whisker" });
  element.style.left = `${100 * from}%`;
  element.style.width = `${100 * (to - from)}%`;
  return element;
}

function accuracyPanel(index, tiles) {
  const { interval } = index, { unfinished } = page.overview;
  const panel = make("section", { class: "panel" }, make("h2", {}, unfinished ? "Accuracy of the answers so far" : "Accuracy"));
  if (index.graded) {
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

// Bars that filter: each has a name, a drawing, a share, and how many items it stands for.
function bars(groups, chosen, choose, css = "bars") {
  return make("div", { class: css }, ...groups.map((group) => make("button", { class: "bar", type: "button",
    "aria-pressed": String(chosen === group.name), title: `${group.name}: ${group.title}`,
    onclick: () => choose(chosen === group.name ? "" : group.name, group) },
  foreign("span", group.name, "name"), group.drawing, make("span", { class: "share number" }, group.share), make("span", { class: "of number" }, group.of))));
}

function differencePanel(comparison, tiles) {
  const outcome = comparison.answered_by_both, all = comparison.failed_counted_as_wrong;
  const failed = all.questions - outcome.questions;
  const runs = ["a", "b"].map((key) => make("p", { class: "run-of" }, make("b", {}, key.toUpperCase()),
    make("span", { class: "number" }, percent(outcome[`accuracy_${key}`])), foreign("span", comparison[key], "path")));
  return make("section", { class: "panel" }, make("h2", {}, "B − A"),
    make("div", { class: "accuracy" }, make("strong", { class: "number" }, `${points(outcome.difference)} points`),
      make("span", {}, `95\u00a0%\u00a0interval ${points(outcome.difference_interval_95[0])} to ${points(outcome.difference_interval_95[1])}; McNemar's p ${pValue(outcome.mcnemar_p)}`)),
    ...runs, make("p", { class: "label" }, `${plural(outcome.questions, "question")} that both answered` +
      (failed ? `; with ${counted(failed)} that failed counted as wrong ${points(all.difference)} points` : "")), tiles);
}

const points = (share) => {
  const size = Math.abs(100 * share).toFixed(1);
  return size === "0.0" ? size : `${share < 0 ? "−" : "+"}${size}`;
};
const pValue = (p) => (p === 0 ? "< 1e-300" : p < 0.001 ? p.toExponential(1) : p.toFixed(3));

// The difference of two runs with its interval, on a scale that all of its panel share.
function differenceTrack(outcome, reach) {
  const place = (share) => 0.5 + Math.max(-0.5, Math.min(0.5, share / reach / 2));
  const [low, high] = outcome.difference_interval_95, at = place(outcome.difference);
  const fill = make("span", { class: `fill ${outcome.difference < 0 ? "worse" : "better"}` });
  fill.style.left = `${100 * Math.min(0.5, at)}%`;
  fill.style.width = `${100 * Math.abs(at - 0.5)}%`;
  return make("span", { class: "track centred", "aria-hidden": "true" }, fill, whisker(place(low), place(high)));
}

// How long the captions are: a histogram for each style; a click on a bar filters by it.
function lengthsPanel(view) {
  const { styles, length_bins: { width, counts } } = view.index, panel = make("section", { class: "panel" }, make("h2", {}, "Caption lengths in characters"));
  styles.forEach((style, number) => {
    const top = Math.max(1, ...counts[number]);
    const drawn = counts[number].map((count, bin) => {
      const from = bin * width, to = from + width - 1, bar = make("button", { type: "button", class: "bin", disabled: !count,
        title: `${style}, ${from} to ${to} characters: ${plural(count, "caption")}`,
        "aria-label": `${style}, ${from} to ${to} characters: ${plural(count, "caption")}`,
        "aria-pressed": String(view.filter.from === from && view.filter.to === to),
        onclick: () => page.setFilter(view.filter.to === to && view.filter.from === from ? { from: "", to: "" } : { from, to }, true) }, make("span"));
      bar.firstChild.style.height = `${count ? Math.max(4, 100 * count / top) : 0}%`;
      return bar;
    });
    panel.append(make("div", { class: "lengths" }, foreign("span", style, "name"), make("div", { class: "bins" }, ...drawn)));
  });
  panel.append(make("div", { class: "lengths scale", "aria-hidden": "true" }, make("span"),
    make("div", {}, make("span", {}, "0"), make("span", {}, counted(width * counts[0].length)))));
  return panel;
}

// Where the time went: one bar of all phases, and beside it what the servers did meanwhile.
function runPanel(run, parts, servers, details) {
  const tokens = ["prompt_tokens", "completion_tokens"].map((key) => parts.reduce((sum, part) => sum + part[key], 0));
  const panel = make("section", { class: "panel run" });
  if (run.phases) {
    const phases = Object.entries(run.phases), whole = phases.reduce((sum, [, seconds]) => sum + seconds, 0);
    panel.append(make("h2", {}, `Where ${duration(whole)} went`), make("div", { class: "phases", "aria-hidden": "true" }, ...phases.map(([name, seconds]) => {
      const part = make("span", { title: `${name}: ${duration(seconds)}` });
      part.style.flexGrow = String(seconds);
      return part;
    })), make("ul", { class: "legend" }, ...phases.map(([name, seconds]) => make("li", {}, name, make("b", { class: "number" }, duration(seconds))))));
  } else panel.append(make("h2", {}, "The run"));
  panel.append(make("p", { class: "facts" }, ...[`${counted(tokens[0])} tokens in, ${counted(tokens[1])} out`, ...servers, ...run.verdict].map((fact) => foreign("span", fact))));
  if (run.plots.length) panel.append(make("div", { class: "plots" }, ...run.plots.map(linePlot)));
  panel.append(details);
  return panel;
}

function drawn(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

// Lines over time. The drawing is 100 x 40 units that take the room that there is.
function linePlot(plot) {
  const lines = Object.entries(plot.lines), top = Math.max(...lines.flatMap(([, values]) => values.filter((value) => value !== null)), 0);
  const y = (value) => 39 - 37 * value / (top || 1);
  const shapes = lines.flatMap(([, values], number) => {
    const there = values.map((value, at) => [100 * (at + 0.5) / values.length, value]).filter(([, value]) => value !== null);
    if (!there.length) return [];
    const path = there.map(([x, value]) => `${x.toFixed(2)} ${y(value).toFixed(2)}`).join(" L ");
    const line = drawn("path", { d: `M ${path}`, class: `line line-${number}` });
    return number ? [line] : [drawn("path", { d: `M ${there[0][0]} 39 L ${path} L ${there.at(-1)[0]} 39 Z`, class: "area" }), line];
  });
  const described = `${plot.title}, ${plot.unit}, from ${time(new Date(1000 * plot.start).toISOString())} UTC on, at most ${short(top)}`;
  const names = lines.length > 1 ? lines.map(([name], number) => make("span", { class: `key key-${number}` }, name)) : [];
  return make("figure", { class: "plot" }, make("figcaption", {}, plot.title, make("span", {}, plot.unit), ...names, make("span", { class: "top number" }, `max ${short(top)}`)),
    drawn("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": described }, ...shapes),
    make("div", { class: "scale", "aria-hidden": "true" }, make("span", {}, "0 s"), make("span", {}, duration(plot.end - plot.start))));
}

const short = (value) => (value >= 100 ? counted(Math.round(value)) : String(+value.toPrecision(2)));

// Which items a page of very many has.
function sampledNote(view, overview) {
  const { shares = {}, counts } = view.index, compared = view.isCompared ? ` with ${view.index.columns[0].label}` : "";
  const words = { failed: "failed", wrong: `are wrong or unparsed${compared}`, other: "are none of these, chosen at random" };
  const parts = Object.entries(shares).filter(([, [, all]]) => all).map(([kind, [shown, all]]) =>
    `${shown === all ? `all ${counted(all)}` : `${counted(shown)} of the ${counted(all)}`} that ${words[kind]}`);
  return make("p", { class: "note" }, `This page shows ${counted(view.length)} of ${plural(counts.all, view.noun)}` +
    `${parts.length ? `: ${parts.join("; ")}` : ""}. The counts and accuracies are of all of them.` +
    (overview.failures ? " The list “Failures” has every failure." : ""));
}

const unfinishedNote = ({ answered, failed, items }) => make("p", { class: "note", role: "note" },
  make("b", {}, "This run is not finished. "), `${counted(answered)} of ${plural(items, "request")} answered` +
  `${failed ? `, ${counted(failed)} failed` : ""}. The same command goes on with the others and makes this page anew.`);
