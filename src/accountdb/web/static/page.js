// What makes the pages quicker to use. All of them work without it.
"use strict";

const main = document.getElementById("content");
const messages = document.getElementById("messages");
const dialog = document.getElementById("keys");

// Keys. Those of a page are on its elements: data-key.
const rows = () => Array.from(document.querySelectorAll("#rows .row-link"));

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
  all[next].focus();
  all[next].scrollIntoView({ block: "nearest" });
}

function typing(element) {
  return element.closest("select, textarea, input:not([type=checkbox])") !== null;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
  if (event.key === "Escape" && typing(event.target)) { event.target.blur(); return; }
  if (typing(event.target)) return;
  const arrows = { ArrowDown: 1, ArrowUp: -1 };
  const step = { j: 1, k: -1, ...(rows().length ? arrows : {}) }[event.key];
  if (step) { event.preventDefault(); move(step); return; }
  if (event.key === "?") { event.preventDefault(); dialog.showModal(); return; }
  const wanted = /^[a-z]$/.test(event.key) && document.querySelector(`[data-key="${event.key}"]`);
  if (!wanted) return;
  event.preventDefault();
  if (wanted.matches("a")) wanted.click();
  else { wanted.focus(); wanted.scrollIntoView({ block: "center" }); }
});

const opener = document.getElementById("keys-open");
opener.hidden = false;
opener.addEventListener("click", () => dialog.showModal());

// A command's button copies it, where the browser lets a page do so.
if (navigator.clipboard) document.documentElement.classList.add("can-copy");
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.previousElementSibling.textContent);
  const before = button.textContent;
  button.textContent = button.dataset.copy;
  setTimeout(() => { button.textContent = before; }, 1500);
});

// The overview renews itself: parts that changed are exchanged, and the focus stays where it was.
const EVERY_MS = 5000;
let failed = 0;

const usable = (part) => Array.from(part.querySelectorAll("a, button, summary, [tabindex]"));

function exchange(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!next || next.innerHTML === part.innerHTML) continue;
    const used = usable(part).indexOf(document.activeElement);
    if (part.querySelector("details[open]") && next.querySelector("details")) {
      next.querySelectorAll("details").forEach((found, at) => {
        const was = part.querySelectorAll("details")[at];
        if (was && was.open) found.open = true;
      });
    }
    part.replaceChildren(...next.childNodes);
    if (used >= 0) usable(part)[used]?.focus({ preventScroll: true });
    if (part.dataset.live === "plot") { points = null; }
  }
}

function say(text, level) {
  messages.querySelector(".of-script")?.remove();
  if (!text) return;
  const line = document.createElement("p");
  line.className = `message of-script ${level}`;
  line.textContent = text;
  messages.append(line);
}

async function renew() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { "x-accountdb-live": "1" }, signal: AbortSignal.timeout(4500) });
    if (answer.status === 403) { location.reload(); return; }
    if (!answer.ok) throw new Error(answer.statusText);
    const before = document.querySelector("[data-live=overall]")?.textContent;
    exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
    if (failed) say("", "");
    failed = 0;
    const after = document.querySelector("[data-live=overall] .state")?.textContent.trim();
    const told = document.getElementById("told");
    if (told && before !== undefined && told.textContent !== after) told.textContent = after;
  } catch {
    failed += 1;
    if (failed === 2) say(document.body.dataset.stale, "fail");
    else if (failed === 1) setTimeout(renew, 1000);
  }
}

// The value under the pointer.
let points = null;

async function load() {
  points = [];
  const answer = await fetch("/lag.json");
  if (answer.ok) points = await answer.json();
}

function hover(event) {
  const plot = event.target.closest?.(".plot");
  const old = document.querySelectorAll(".cursor, .tip");
  old.forEach((one) => one.remove());
  if (!plot) return;
  if (points === null) { load(); return; }
  if (!points.series) return;
  const box = plot.querySelector("svg").getBoundingClientRect();
  const width = plot.querySelector("svg").viewBox.baseVal.width;
  const at_x = ((event.clientX - box.left) * width) / box.width;
  const share = (at_x - points.left) / (width - points.left - points.right);
  if (share < 0 || share > 1) return;
  const at = points.since + share * (points.until - points.since);
  const lines = [];
  for (const one of points.series) {
    let best = null;
    for (const point of one.points) if (best === null || Math.abs(point[0] - at) < Math.abs(best[0] - at)) best = point;
    const near = best !== null && Math.abs(best[0] - at) < (points.until - points.since) / 96;
    lines.push(`${one.provider} → ${one.receiver}: ${near ? best[2] : points.gap}`);
  }
  const cursor = document.createElement("div");
  cursor.className = "cursor";
  const tip = document.createElement("div");
  tip.className = "tip";
  for (const text of [`${new Date(at * 1000).toISOString().slice(11, 16)} UTC`, ...lines]) {
    const line = document.createElement("div");
    line.textContent = text;
    tip.append(line);
  }
  plot.append(cursor, tip);
  const left = event.clientX - plot.getBoundingClientRect().left;
  cursor.style.left = `${left}px`;
  tip.style.left = `${Math.min(left + 10, plot.clientWidth - tip.offsetWidth - 4)}px`;
}

if (document.body.dataset.page === "overview") {
  setInterval(renew, EVERY_MS);
  document.addEventListener("visibilitychange", renew);
  main.addEventListener("pointermove", hover);
  main.addEventListener("pointerleave", hover);
}
