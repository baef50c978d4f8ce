"use strict";
// Better with this, whole without: times of this place that go on, and no button.
const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "short" });
const exact = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit",
  timeZoneName: "short",
});
function show(time) {
  const moment = new Date(time.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  const seconds = Math.round((moment - Date.now()) / 1000);
  const [unit, length] = units.find(([, length]) => Math.abs(seconds) >= length) || units[3];
  time.querySelector(".ago").textContent = relative.format(Math.trunc(seconds / length), unit);
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
