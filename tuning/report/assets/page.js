"use strict";
// The page is whole without this: it sorts and filters the table, and shows a trial in every plot at once.
const rows = new Map(JSON.parse(document.getElementById("rows").textContent).map((row) => [String(row.trial), row]));
const table = document.getElementById("trials");
const body = table.tBodies[0];
const headings = [...table.tHead.rows[0].cells];
const fields = headings.map((heading) => heading.textContent);
const filter = document.getElementById("filter");
const tip = document.getElementById("tip");

// Sorting: numbers as numbers, what is missing last in both directions.
const valueAt = (row, at) => row.cells[at].dataset.v;
function compared(one, other) {
  const [a, b] = [Number(one), Number(other)];
  return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b;
}
function sortBy(at, direction) {
  const sign = direction === "descending" ? -1 : 1;
  const ordered = [...body.rows].sort((one, other) => {
    const [a, b] = [valueAt(one, at), valueAt(other, at)];
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * compared(a, b);
  });
  body.append(...ordered);
  headings.forEach((heading, place) => {
    if (place === at) heading.setAttribute("aria-sort", direction);
    else heading.removeAttribute("aria-sort");
  });
  remember();
}
headings.forEach((heading, at) =>
  heading.querySelector("button").addEventListener("click", () =>
    sortBy(at, heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending")));

// Filtering: every word must hold.
const TESTS = {
  "=": (order) => order === 0, "!=": (order) => order !== 0, "<": (order) => order < 0,
  "<=": (order) => order <= 0, ">": (order) => order > 0, ">=": (order) => order >= 0,
};
function condition(word) {
  const parts = /^(\w+)(!=|<=|>=|=|<|>)(.+)$/.exec(word);
  const at = parts ? fields.indexOf(parts[1]) : -1;
  if (at < 0) return (row) => row.textContent.toLowerCase().includes(word.toLowerCase());
  const wanted = { yes: "true", no: "false" }[parts[3]] ?? parts[3];
  const test = TESTS[parts[2]];
  const ordered = /[<>]/.test(parts[2]);
  return (row) => {
    const cell = row.cells[at];
    if (cell.dataset.v === "") return false;
    // What is shown is rounded: it may be meant by = and !=, never by an order.
    const spoken = !ordered && compared(cell.textContent.toLowerCase(), parts[3].toLowerCase()) === 0;
    return test(spoken ? 0 : compared(cell.dataset.v, wanted));
  };
}
function applyFilter() {
  const conditions = filter.value.split(/\s+/).filter(Boolean).map(condition);
  let shown = 0;
  for (const row of body.rows) {
    row.hidden = !conditions.every((holds) => holds(row));
    shown += !row.hidden;
  }
  document.getElementById("count").textContent = `${shown} of ${body.rows.length} trials`;
  remember();
}
filter.addEventListener("input", applyFilter);

// One trial everywhere.
const places = new Map();
for (const part of document.querySelectorAll("[data-t]")) {
  if (!places.has(part.dataset.t)) places.set(part.dataset.t, []);
  places.get(part.dataset.t).push(part);
}
let pinned = null;
const light = (trial, on) => (places.get(trial) ?? []).forEach((part) => part.classList.toggle("on", on));
function pin(trial) {
  if (pinned !== null) {
    light(pinned, false);
    pressed(pinned, false);
  }
  pinned = trial === pinned ? null : trial;
  document.body.classList.toggle("pinned", pinned !== null);
  if (pinned !== null) {
    light(pinned, true);
    pressed(pinned, true);
  }
}
function pressed(trial, on) {
  for (const part of places.get(trial) ?? []) part.querySelector("button")?.setAttribute("aria-pressed", String(on));
}
body.addEventListener("click", (event) => {
  if (event.target.closest("button")) pin(event.target.closest("tr").dataset.t);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && pinned !== null) pin(pinned);
});

// What a mark in a plot stands for.
function described(row) {
  const score = row.val_accuracy === null ? "no accuracy" : row.val_accuracy.toFixed(4);
  const settings = Object.entries(row.params).map(([name, value]) =>
    `${name} ${typeof value === "number" ? Number(value.toPrecision(3)) : value ?? "none"}`);
  const state = { COMPLETE: "done", PRUNED: "stopped", FAIL: "failed", PAUSED: "paused", RUNNING: "running" }[row.state];
  return [`trial ${row.trial}: ${score}, ${state}`, ...settings].join("\n");
}
for (const drawings of document.querySelectorAll(".drawings")) {
  drawings.addEventListener("pointerover", (event) => {
    const trial = event.target.closest("[data-t]")?.dataset.t;
    if (trial === undefined) return;
    tip.textContent = described(rows.get(trial));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8))}px`;
    light(trial, true);
  });
  drawings.addEventListener("pointerout", (event) => {
    const trial = event.target.closest("[data-t]")?.dataset.t;
    tip.hidden = true;
    if (trial !== undefined && trial !== pinned) light(trial, false);
  });
}

// `report --watch`: reload, and keep what was typed and sorted.
const seconds = Number(document.documentElement.dataset.watch ?? 0);
const KEY = `sentune ${location.pathname}`;
function remember() {
  if (!seconds) return;
  const at = headings.findIndex((heading) => heading.hasAttribute("aria-sort"));
  const sort = at < 0 ? null : [fields[at], headings[at].getAttribute("aria-sort")];
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ filter: filter.value, sort }));
  } catch { /* storage is switched off: the filter is lost with each reload */ }
}
if (seconds) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
    filter.value = kept.filter ?? "";
    const at = kept.sort ? fields.indexOf(kept.sort[0]) : -1;
    if (at >= 0) sortBy(at, kept.sort[1]);
  } catch { /* as above */ }
  setInterval(() => {
    if (document.activeElement !== filter) location.reload();
  }, 1000 * seconds);
}
applyFilter();
