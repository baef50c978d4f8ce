"use strict";
// The pages work without this script. With it, they refresh themselves, show times in
// the reader's time zone, and submit forms without a button.
const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
// The Swedish locale writes dates as in ISO 8601.
const exact = new Intl.DateTimeFormat("sv-SE", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit",
  timeZoneName: "short",
});
function duration(seconds) {
  const parts = [];
  for (const [length, unit] of units) {
    if (seconds >= length) {
      parts.push(`${Math.floor(seconds / length)} ${unit}`);
      seconds %= length;
    }
    if (parts.length === 2 || (parts.length && !seconds)) break;
  }
  return parts.join(" ");
}
function show(time) {
  const moment = new Date(time.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  const seconds = Math.round((Date.now() - moment) / 1000);
  const length = duration(Math.abs(seconds));
  const ago = seconds > 0 ? `${length} ago` : `in ${length}`;
  time.querySelector(".ago").textContent = seconds === 0 ? "now" : ago;
  time.title = time.dateTime;
  time.querySelector("small").textContent = exact.format(moment);
}
function showAll() {
  document.querySelectorAll("time").forEach(show);
}

const RENEWAL = 30000; // milliseconds
const live = document.querySelector("#live");
let triedAt = Date.now();
let shownAt = triedAt;
let paused = false;
let failure = "";
for (const details of document.querySelectorAll("details")) details.served = details.open;

function key(node) {
  return node.id || node.dataset?.key;
}
// Update an element to match a newer one. Nodes are kept, with focus, scroll and input.
function update(old, fresh) {
  const open = old.open;
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  if (old.nodeName === "DETAILS") {
    // What the reader opened or closed stays so until the exporter serves another state.
    if ((old.served ?? fresh.open) === fresh.open) old.open = open;
    old.served = fresh.open;
  }
  const keyed = new Map([...old.children].filter(key).map((node) => [key(node), node]));
  let next = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    const alike = next && !key(next) && !key(node) && next.nodeName === node.nodeName;
    const same = alike ? next : keyed.get(key(node));
    if (same === next) next = next?.nextSibling;
    if (!same || same.nextSibling !== next) old.insertBefore(same ?? node, next);
    if (!same || same === live) continue;
    if (same.nodeType === Node.ELEMENT_NODE) update(same, node);
    else if (same.data !== node.data) same.data = node.data;
  }
  while (next) {
    const rest = next.nextSibling;
    next.remove();
    next = rest;
  }
}
async function renew() {
  triedAt = Date.now();
  let page;
  try {
    // Without credentials in the address, because fetch rejects them.
    const address = location.origin + location.pathname + location.search;
    const answer = await fetch(address, { signal: AbortSignal.timeout(RENEWAL) });
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // A proxy may have answered with its own page.
    if (!page.querySelector("#live")) throw new Error(`HTTP ${answer.status}`);
  } catch (error) {
    failure = `The exporter does not answer (${error.message}).`;
    tick();
    return;
  }
  if (page.scripts[0].text !== document.scripts[0].text) location.reload();
  const focused = document.activeElement;
  for (const part of ["title", "link[rel=icon]"]) {
    update(document.querySelector(part), page.querySelector(part));
  }
  update(document.body, page.body);
  if (focused.isConnected) focused.focus({ preventScroll: true });
  shownAt = triedAt;
  failure = "";
  tick();
}
function tick() {
  showAll();
  if (!live) return;
  const late = Date.now() - shownAt >= 4 * RENEWAL;
  let text = failure || (paused ? "Paused." : "Renewed every 30 s.");
  if (failure || late) text += ` This page is as of ${exact.format(shownAt)}.`;
  const [status, button] = live.children;
  // Set only on change, because screen readers announce each one.
  if (status.textContent !== text) status.textContent = text;
  button.textContent = paused ? "Continue" : "Pause";
  live.classList.toggle("old", Boolean(failure) || late);
  live.hidden = false;
  if (!paused && Date.now() - triedAt >= RENEWAL) renew();
}
tick();
setInterval(tick, 5000);
document.addEventListener("visibilitychange", tick);
live?.querySelector("button").addEventListener("click", () => {
  paused = !paused;
  if (!paused) triedAt = 0;
  tick();
});
const form = document.querySelector("form");
if (form) {
  form.addEventListener("change", (event) => {
    if (event.target.tagName === "SELECT") form.requestSubmit();
  });
  // Empty fields would only make the address longer.
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
  });
  window.addEventListener("pageshow", () => {
    for (const field of form.elements) field.disabled = false;
  });
}
document.addEventListener("keydown", (event) => {
  const search = document.querySelector("input[type=search]");
  if (event.key !== "/" || !search || event.target.closest("input, select")) return;
  event.preventDefault();
  search.focus();
});
