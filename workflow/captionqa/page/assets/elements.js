// The data and the elements of the page. All that comes from models and data sets is set as text, never as HTML.
"use strict";

const LONG_TEXT = 900, LONG_LINES = 12; // of an output that is shown in part at first
const LONG_QUESTION = 280; // characters above which a question is set smaller
const WORDS = {
  right: "right", wrong: "wrong", tie: "tied", inconsistent: "inconsistent", unparsed: "unparsed", failed: "failed", ungraded: "no ground truth",
  truncated: "truncated", duplicate: "duplicate", all: "all", only_a: "right only in A", only_b: "right only in B",
};
const STATUSES = ["wrong", "tie", "inconsistent", "unparsed", "failed", "right", "ungraded"]; // as the data number them
const SIGNS = { right: "✓", wrong: "✗", tie: "=", inconsistent: "≠", unparsed: "?", failed: "!", ungraded: "–" };
const EXPLAINED = {
  right: "The answer is the ground truth.",
  wrong: "An answer was read, and it is not the ground truth.",
  tie: "Two answers to the question are as frequent, so that none counts; it counts as wrong.",
  inconsistent: "The answers are not the same in each rotation of the choices; it counts as wrong.",
  unparsed: "No answer could be read from the output; it counts as wrong.",
  failed: "There is no output; it counts as wrong.",
  ungraded: "The question file gives no ground truth.",
  truncated: "The output ended at max_tokens.",
  duplicate: "Another image on this page has the same content.",
  all: "No filter.", only_a: "A is right, and B is not.", only_b: "B is right, and A is not.",
};
const RULES = {
  box: "The answer was read from the last \\boxed{…}.", cue: "The answer was read behind a cue such as “the answer is”.",
  letter: "The output is only a letter.", "option text": "The output has the text of one option alone.",
  tie: "Two answers to the question are as frequent, so that none counts.",
  circular: "The answers are not the same in each rotation of the choices, or one could not be read.",
  verify: "The value was compared with the ground truth.", none: "No rule found an answer.", ungraded: "Nothing to grade against.",
};
// Data: scripts of the folder data/ call `receive`.

const waiting = new Map(), loaded = new Map();
window.captionqaPage = {
  receive(name, text) { loaded.set(name, JSON.parse(text)); },
};

function load(name) {
  if (!waiting.has(name)) {
    if (loaded.has(name)) return Promise.resolve(loaded.get(name));
    waiting.set(name, new Promise((resolve, reject) => {
      const tag = document.createElement("script");
      tag.src = `data/${name}.js`;
      tag.onload = () => resolve(loaded.get(name));
      tag.onerror = () => reject(new Error(`data/${name}.js is missing: copy the whole folder of this page.`));
      document.head.append(tag);
    }));
  }
  return waiting.get(name);
}

// Elements

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const foreign = (tag, text, css = "") => make(tag, { class: `foreign ${css}`.trim(), dir: "auto" }, text);
const counted = (number) => number.toLocaleString("en-US");
const percent = (share) => `${(100 * share).toFixed(1)}%`;
const interval95 = (interval) => (interval ? `; 95\u00a0%\u00a0interval ${percent(interval[0])} to ${percent(interval[1])}` : "");
const time = (iso) => iso.slice(0, 16).replace("T", " ");
const badge = (kind, text, title = EXPLAINED[kind]) => make("span", { class: `badge ${kind}`, title }, text);
// What became of an answer; `name` is what is said in place of that.
const statusBadge = ({ status, rule }, name = WORDS[status]) => badge(status, `${SIGNS[status]} ${name}`,
  status === "unparsed" && rule === "circular" ? "The answer to a rotation of the choices could not be read; it counts as wrong." : EXPLAINED[status]);

function plural(number, word) { return `${counted(number)} ${word}${number === 1 ? "" : "s"}`; }

function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// A text that is closed at first, such as a model's reasoning.
function folded(name, text) {
  return make("details", { class: "folded" }, make("summary", {}, `${name} (${plural(text.length, "character")})`),
    foreign("div", text, "output"));
}

// Long texts are cut by their looks alone, so that a search of the browser finds all of them.
function expandable(element, text, characters = LONG_TEXT) {
  if (text.length < characters && text.split("\n").length <= LONG_LINES) return element;
  element.classList.add("clamped");
  const button = make("button", { class: "plain expand", type: "button", "aria-expanded": "false" }, "Show all");
  button.addEventListener("click", () => {
    const open = !element.classList.toggle("clamped");
    button.textContent = open ? "Show less" : "Show all";
    button.setAttribute("aria-expanded", String(open));
  });
  return make("div", {}, element, button);
}

function picture(image, link) {
  const described = image.caption ? image.caption.slice(0, 400) : `Image ${image.name}`;
  const name = make("figcaption", {}, link ? make("a", { class: "foreign", dir: "auto", href: link,
    title: "A link to this image alone" }, image.name) : foreign("span", image.name));
  if (!image.thumbnail) {
    const reason = foreign("div", image.reason || "no picture to show", "absent");
    return make("figure", { class: "picture" }, reason, name);
  }
  const shown = make("img", {
    src: image.thumbnail, alt: described, width: image.width || null, height: image.height || null, loading: "lazy", decoding: "async",
    onerror: () => file.replaceWith(make("div", { class: "absent" }, "no picture to show")),
  });
  const file = make("a", { href: image.original || image.thumbnail, target: "_blank", rel: "noopener noreferrer" }, shown);
  return make("figure", { class: "picture" }, file, name);
}

// A name may hold any character, also half of a pair, which encodeURIComponent refuses.
const wellFormed = (name) => name.replace(/\p{Surrogate}/gu, "\ufffd");
const encode = (name) => encodeURIComponent(wellFormed(name));

function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}
