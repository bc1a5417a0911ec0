"use strict";
const BATCH = 12, SHOWN = 1000; // sentences in a request, of 960 kB at most, and in the table
const NAMED = 20; // classes above the form
const form = document.querySelector("form"), said = document.querySelector("#said");
const button = form.querySelector("button"), box = document.querySelector("#text");
const answer = document.querySelector("#answer"), labels = document.querySelector("#labels");
const chooser = document.querySelector("#file");
const show = (selector, text) => { document.querySelector(selector).textContent = text; };
const cell = (row, text, kind) => {
  const made = row.appendChild(document.createElement(kind === "name" ? "th" : "td"));
  if (kind === "name") made.scope = "row"; else made.className = kind;
  if (kind === "name" || kind === "label") made.dir = "auto"; // Arabic and Hebrew
  made.textContent = text;
  return made;
};
const addRow = (section) => section.querySelector("tbody").appendChild(document.createElement("tr"));

const drawOne = ({ label, probability, probabilities, unknown_words: unknown }, text) => {
  const shown = probability.toFixed(3);
  said.textContent = label === null
    ? `No answer: the most probable class has probability ${shown}` : `${label}, with probability ${shown}`;
  if (unknown > 0) said.textContent += `. The model does not know ${Math.round(100 * unknown)}% of the words`;
  show("blockquote", text);
  const shares = Object.entries(probabilities).sort((one, other) => other[1] - one[1]);
  for (const [name, share] of shares) {
    const row = addRow(answer);
    if (name === label) row.className = "best";
    cell(row, name, "name");
    cell(row, share.toFixed(4), "number");
    const bar = cell(row, "", "share").appendChild(document.createElement("div"));
    bar.style.width = `${100 * share}%`;
  }
  answer.hidden = false;
};

const drawMany = (found, texts) => {
  const more = texts.length > SHOWN ? `; the table shows the first ${SHOWN}, the file has all` : "";
  said.textContent = `${texts.length} sentences labelled${more}`;
  found.slice(0, SHOWN).forEach(({ label, probability }, place) => {
    const row = addRow(labels);
    cell(row, texts[place], "name");
    cell(row, label === null ? "(no answer)" : label, "label");
    cell(row, probability.toFixed(3), "number");
  });
  // A spreadsheet would take a cell that begins with one of these for a formula, unless it is a number such as -1.
  const plain = (value) => (isNaN(value) ? value.replace(/^[=+\-@\t]/, "'$&") : String(value));
  const quoted = (value) => `"${plain(value).replaceAll('"', '""')}"`;
  const lines = found.map(({ label, probability }, place) => [texts[place], label ?? "", probability]);
  const csv = [["text", "label", "probability"], ...lines].map((line) => line.map(quoted).join(",") + "\r\n");
  URL.revokeObjectURL(document.querySelector("#save").href);
  // Without the mark, a spreadsheet does not read UTF-8.
  document.querySelector("#save").href = URL.createObjectURL(new Blob(["\ufeff", ...csv], { type: "text/csv" }));
  labels.hidden = false;
};

const predict = async (texts, waits) => {
  const body = JSON.stringify({ texts });
  for (;;) {
    const reply = await fetch("predict", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    if (reply.ok) return (await reply.json()).predictions;
    const wait = waits && [429, 503].includes(reply.status) && Number(reply.headers.get("Retry-After"));
    const own = !wait && (await reply.json().catch(() => null))?.detail; // a proxy's answer has none
    if (!wait) throw new Error(own ?? `the server answered ${reply.status}; try again later`);
    await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
  }
};

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const texts = box.value.split("\n").map((line) => line.trim()).filter((line) => line);
  answer.hidden = labels.hidden = true;
  document.querySelectorAll("tbody").forEach((body) => body.replaceChildren());
  button.disabled = chooser.disabled = true;
  const found = [];
  try {
    if (!texts.length) throw new Error("there is no sentence");
    while (found.length < texts.length) {
      if (texts.length > BATCH) said.textContent = `${found.length} of ${texts.length} sentences labelled ...`;
      found.push(...await predict(texts.slice(found.length, found.length + BATCH), texts.length > 1));
    }
    if (texts.length === 1) drawOne(found[0], texts[0]); else drawMany(found, texts);
  } catch (error) {
    // The server counts the texts of one request from 0.
    const sentence = (_, place) => `sentence ${found.length + Number(place) + 1}`;
    said.textContent = `No label: ${error.message.replace(/^texts\.(\d+)/, sentence)}`;
  } finally {
    button.disabled = chooser.disabled = false;
  }
});
box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!button.disabled) form.requestSubmit();
});
chooser.addEventListener("change", async ({ target }) => {
  if (!target.files.length) return;
  const content = await target.files[0].arrayBuffer();
  target.value = "";
  try {
    box.value = new TextDecoder("utf-8", { fatal: true }).decode(content);
    form.requestSubmit();
  } catch {
    answer.hidden = labels.hidden = true;
    said.textContent = "No label: the file is not in UTF-8; save it in UTF-8";
  }
});
fetch("health").then((reply) => reply.json()).then(({ model, classes, min_probability: minimum }) => {
  const threshold = minimum === null ? "" : `. There is no answer below probability ${minimum}`;
  const more = classes.length > NAMED ? ` and ${classes.length - NAMED} more` : "";
  show("#model", `Model ${model}, classes: ${classes.slice(0, NAMED).join(", ")}${more}${threshold}`);
});
