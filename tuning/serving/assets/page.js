
"use strict";
const form = document.querySelector("form"), said = document.querySelector("#said");
const button = form.querySelector("button"), rows = document.querySelector("tbody");
const show = (selector, text) => { document.querySelector(selector).textContent = text; };
const cell = (row, text, kind) => {
  const made = row.appendChild(document.createElement(kind === "name" ? "th" : "td"));
  if (kind === "name") made.scope = "row"; else made.className = kind;
  made.textContent = text;
  return made;
};
const draw = ({ label, probability, probabilities, unknown_words: unknown }, text) => {
  const shown = probability.toFixed(3);
  said.textContent = label === null
    ? `No answer: the most probable class has probability ${shown}` : `${label}, with probability ${shown}`;
  if (unknown > 0) said.textContent += `. The model does not know ${Math.round(100 * unknown)}% of the words`;
  show("blockquote", text);
  rows.replaceChildren();
  const shares = Object.entries(probabilities).sort((one, other) => other[1] - one[1]);
  for (const [name, share] of shares) {
    const row = rows.appendChild(document.createElement("tr"));
    if (name === label) row.className = "best";
    cell(row, name, "name");
    cell(row, share.toFixed(4), "number");
    const bar = cell(row, "", "share").appendChild(document.createElement("div"));
    bar.style.width = `${100 * share}%`;
  }
  document.querySelector("#answer").hidden = false;
};
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = form.elements.text.value;
  button.disabled = true;
  try {
    const body = JSON.stringify({ texts: [text] });
    const reply = await fetch("predict", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    const answer = await reply.json();
    if (!reply.ok) throw new Error(answer.detail);
    draw(answer.predictions[0], text);
  } catch (error) {
    document.querySelector("#answer").hidden = true;
    said.textContent = `No label: ${error.message}`;
  } finally {
    button.disabled = false;
  }
});
fetch("health").then((reply) => reply.json()).then(({ model, classes, min_probability: minimum }) => {
  const threshold = minimum === null ? "" : `. There is no answer below probability ${minimum}`;
  show("#model", `Model ${model}, classes: ${classes.join(", ")}${threshold}`);
});
