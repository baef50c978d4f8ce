"use strict";
// Better with this, whole without: times of this place that go on, and no button.
const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
// The Swedish way to write a moment is that of ISO 8601.
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
showAll();
setInterval(showAll, 20000);
const form = document.querySelector("form");
if (form) {
  form.addEventListener("change", (event) => {
    if (event.target.tagName === "SELECT") form.requestSubmit();
  });
  // Empty fields would only make addresses longer.
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
