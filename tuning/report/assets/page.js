"use strict";
// Builds the table, sorts and filters it, draws the charts, and shows the selected trial in the table and every chart.
const [{ charts, config }, { datasets, columns, rows, more, short, words }] = JSON.parse(document.getElementById("json").textContent);
const [body, filter, tip] = [document.querySelector("#trials tbody"), ...["filter", "tip"].map((id) => document.getElementById(id))];
const toObjects = ([names, ...lines]) => lines.map((line) => Object.fromEntries(line.map((value, at) => [names[at], value])));

// The table: columns that hold anything, in the order of the data, the best trial first.
const element = (name, properties, ...inside) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...inside);
  return made;
};
function shown(value) {
  if (typeof value !== "number") return value ?? "-";
  return Number.isInteger(value) || Math.abs(value) >= 1000 ? String(value) : value.toPrecision(4);
}
const trials = toObjects(rows).reverse();
const nothing = (name) => (["recommended", "baseline"].includes(name) ? [null, "no"] : [null]);
const fields = columns.filter((name) => trials.some((trial) => !nothing(name).includes(trial[name])));
const isNumber = (value) => value === null || typeof value === "number";
const styles = Object.fromEntries(fields.map((name) =>
  [name, `${trials.every((trial) => isNumber(trial[name])) ? "n" : ""} ${more.includes(name) ? "more" : ""}`]));
const headings = fields.map((name) =>
  element("th", { scope: "col", className: styles[name] }, element("button", { type: "button", textContent: name })));
document.querySelector("#trials thead tr").append(...headings);
for (const trial of trials) {
  const button = element("button", { type: "button", ariaPressed: "false", textContent: trial.trial });
  button.addEventListener("click", () => select(selected === trial.trial ? null : trial.trial));
  trial.row = element("tr", {}, ...fields.map((name) =>
    element("td", { className: styles[name] }, name === "trial" ? button : shown(trial[name]))));
}

// Sorting: missing values are last in both directions.
let order = ["rank", 1];
function compare(one, other) {
  return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
}
function sort() {
  const [name, sign] = order;
  trials.sort(({ [name]: one }, { [name]: other }) =>
    one === null || other === null ? (one === null) - (other === null) : sign * compare(one, other));
  body.append(...trials.map((trial) => trial.row));
  headings.forEach((heading, at) =>
    heading.ariaSort = fields[at] !== name ? null : sign > 0 ? "ascending" : "descending");
}
headings.forEach((heading, at) => heading.firstChild.addEventListener("click", () => {
  order = [fields[at], order[0] === fields[at] ? -order[1] : 1];
  sort();
}));

// Filtering: every word must match, and every condition must hold. Blanks around an operator do not count.
const names = new Set([...columns, ...rows[0]]);
function condition(word) {
  const [, said, operator, written] = /^([\w.]+)([!<>=]=|[=<>])(.*)$/.exec(word) ?? [];
  const text = Object.hasOwn(words, written) ? words[written] : written;
  if (!operator) return ({ row }) => row.textContent.toLowerCase().includes(word.toLowerCase());
  const name = names.has(said) ? said : short[said];
  const wanted = text === "" ? NaN : Number(text);
  if (trials.length && !names.has(name)) return `no column ${said}`;
  if (/[<>]/.test(operator) && Number.isNaN(wanted)) return `write a number after ${operator}`;
  return ({ [name]: value }) => {
    // As in `best --where`.
    if (value === null) return operator === "!=" ? text !== "none" : operator.startsWith("=") && text === "none";
    // A cell shows a rounded number; = and != also accept that.
    const equal = value === wanted || shown(value) === text;
    if (operator.startsWith("=")) return equal;
    if (operator === "!=") return !equal;
    return typeof value === "number" && { "<": value < wanted, "<=": value <= wanted, ">": value > wanted, ">=": value >= wanted }[operator];
  };
}
function applyFilter() {
  const words = filter.value.replace(/\s*([!<>=]=|[=<>])\s*/g, "$1").split(/\s+/).filter(Boolean);
  const conditions = words.map(condition);
  const problem = conditions.find((each) => typeof each === "string");
  for (const trial of trials) trial.row.hidden = problem !== undefined || !conditions.every((holds) => holds(trial));
  const left = trials.filter((trial) => !trial.row.hidden).length;
  document.getElementById("count").textContent = problem ?? `${left} of ${trials.length} trials`;
}
filter.addEventListener("input", applyFilter);

// Selection: one trial, in the table and in every chart.
const views = [];
let selected = null;
function highlight(view) {
  const fields = [{ type: "E", field: "trial" }];
  view.data("trial_store", selected === null ? [] : [{ unit: "", fields, values: [selected] }]).runAsync();
}
function select(number) {
  if (number === selected) return;
  selected = number;
  for (const { trial, row } of trials) {
    row.classList.toggle("on", trial === number);
    row.querySelector("button").ariaPressed = String(trial === number);
  }
  views.forEach(highlight);
}
document.addEventListener("keydown", (event) => event.key === "Escape" && select(null));

// Charts. The interpreter of expressions (ast) needs no eval, which the page's policy forbids.
function tooltip(handler, event, item, value) {
  tip.hidden = !value;
  tip.textContent = Object.entries(value ?? {}).map(([name, each]) => `${name} ${shown(each)}`).join("\n");
  const place = (at, size, room) => `${Math.max(4, Math.min(at + 14, room - size - 8))}px`;
  tip.style.left = place(event.clientX, tip.offsetWidth, innerWidth);
  tip.style.top = place(event.clientY, tip.offsetHeight, innerHeight);
}
const options = { mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false, config, tooltip };
async function draw(id, chart) {
  const place = document.getElementById(id);
  const data = Object.fromEntries(chart.datasets.map((name) => [name, toObjects(structuredClone(datasets[name]))]));
  const description = place.closest("section").querySelector("p").textContent;
  const { view } = await vegaEmbed(place, { ...chart, description, datasets: data }, options);
  if (!chart.params) return;
  views.push(view);
  highlight(view);
  view.addSignalListener("trial", (_, { trial }) => {
    const number = trial?.[0] ?? null;
    if (number === selected) return;  // it was selected in the table, or in another chart
    select(number);
    const row = trials.find((each) => each.trial === number)?.row;
    if (row && !row.hidden) body.closest(".scroll").scrollTop = row.offsetTop - body.closest(".scroll").clientHeight / 2;
  });
}
async function drawAll() {
  for (const [id, chart] of Object.entries(charts)) {
    await draw(id, chart);
    await new Promise((resume) => setTimeout(resume));  // the page answers meanwhile
  }
  document.body.classList.add("drawn");
}

// `report --watch`: reload, unless the keyboard is used in the page. A page that is loaded again, also the last one of a
// study, keeps the filter, the order, the selected trial and what is in view.
const seconds = Number(document.documentElement.dataset.watch ?? 0);
const KEY = `sentune ${location.pathname}`;
const boxes = [...document.querySelectorAll(".scroll")];
sort();
applyFilter();
const drawn = drawAll();
if (seconds) setInterval(() => document.activeElement.matches("input, :focus-visible") || location.reload(), 1000 * seconds);
addEventListener("pagehide", () => sessionStorage.setItem(KEY, JSON.stringify(
  [filter.value, order, selected, scrollY,
    boxes.map((box) => [box.ariaLabel, [box.offsetHeight, box.scrollLeft, box.scrollTop]])])));
const kept = JSON.parse(sessionStorage.getItem(KEY));
if (kept) {
  let number, top, places;
  [filter.value, order, number, top, places] = kept;
  sort();
  applyFilter();
  select(number);
  history.scrollRestoration = "manual";
  const byLabel = new Map(places);  // a table or a chart may be new
  boxes.forEach((box) => {
    const [height, ...place] = byLabel.get(box.ariaLabel) ?? [0, 0, 0];
    box.style.minHeight = `${height}px`;  // the room of a chart that is not drawn yet
    box.scrollTo(...place);
  });
  scrollTo(0, top);
  drawn.then(() => boxes.forEach((box) => { box.style.minHeight = ""; }));
}
