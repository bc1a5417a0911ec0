"""The page that `serve` shows: a sentence in, every class's probability out. It asks nothing of anyone else."""

import base64
import hashlib

_STYLE = """
:root { color-scheme: light dark; --line: #8888; --bar: #2a6fdb; font: 1.05rem/1.5 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { :root { --bar: #6ea8ff; } }
body { max-width: 42rem; margin: 2rem auto; padding: 0 1rem; }
form { display: flex; gap: .5rem; flex-wrap: wrap; }
label { flex-basis: 100%; }
input, button { font: inherit; padding: .5rem .75rem; border: 1px solid var(--line); border-radius: .4rem; }
input { flex: 1 1 14rem; min-width: 0; }
:focus-visible { outline: 3px solid var(--bar); outline-offset: 2px; }
table { width: 100%; border-collapse: collapse; margin-top: 1rem; }
th, td { text-align: left; padding: .35rem .5rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th[scope=row] { font-weight: inherit; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.share { width: 45%; }
td.share div { background: var(--bar); height: .9rem; border-radius: .2rem; min-width: 1px; forced-color-adjust: none; }
tr.best { font-weight: 600; }
blockquote { margin: 0; overflow-wrap: anywhere; }
"""

# Everything from outside is set as `textContent`, which is never markup.
_SCRIPT = """
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
const draw = ({ label, probability, probabilities }, text) => {
  said.textContent = `${label}, with probability ${probability.toFixed(3)}`;
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
fetch("health").then((reply) => reply.json()).then(({ model, classes }) => {
  show("#model", `Model ${model}, classes: ${classes.join(", ")}`);
});
"""

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Label a sentence</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>Label a sentence</h1>
<p id="model"></p>
<form>
<label for="text">Sentence</label>
<input id="text" name="text" autocomplete="off" required autofocus>
<button>Label it</button>
</form>
<p id="said" role="status"></p>
<section id="answer" aria-label="Probabilities" hidden>
<blockquote></blockquote>
<table>
<thead><tr><th scope="col">Class</th><th scope="col" colspan="2">Probability</th></tr></thead>
<tbody></tbody>
</table>
</section>
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _hash(source: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() + "'"


HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""With them a browser runs this page's own script only, and sends nothing elsewhere."""
