"use strict";

// What the pointer or the arrow keys are at is said below the timeline; without this script all else is still there.
for (const timeline of document.querySelectorAll(".timeline")) {
  const begin = Number(timeline.dataset.begin);
  const list = timeline.querySelector(".rows");
  const readout = timeline.querySelector(".readout");
  let here = null;

  const number = (element, name) => Number(element.style.getPropertyValue(name));

  function words(stretch) {
    const first = begin + number(stretch, "--a");
    const last = first + number(stretch, "--n") - 1;
    const row = stretch.closest(".row");
    const lane = stretch.closest(".lane");
    const where = first === last ? `frame ${first}` : `frames ${first} to ${last}`;
    const track = stretch.dataset.t;
    const what = stretch.classList.contains("missed") ? "missed"
      : stretch.classList.contains("loose") ? `track ${track} is near, too loose for a hit (IoU ${stretch.dataset.u})`
      : `track ${track} covers it (IoU ${stretch.dataset.u})`;
    const mark = stretch.classList.contains("switch") ? `; switch of track in frame ${first}`
      : stretch.classList.contains("again") ? `; found again in frame ${first}` : "";
    const result = row.querySelectorAll(".lane").length > 1 ? `${lane.dataset.result}, ` : "";
    return `Identity ${row.dataset.identity}, ${result}${where}: ${what}${mark}`;
  }

  function show(stretch) {
    if (here !== null) here.classList.remove("here");
    here = stretch;
    if (here === null) return;
    here.classList.add("here");
    readout.textContent = words(here);
  }

  function focusRow(row) {
    for (const name of list.querySelectorAll('.name[tabindex="0"]')) name.tabIndex = -1;
    const name = row.querySelector(".name");
    name.tabIndex = 0;
    name.focus();
  }

  list.addEventListener("pointerover", (event) => {
    const stretch = event.target.closest(".lane b");
    if (stretch !== null) show(stretch);
  });
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row !== null && event.target.closest(".name") !== null) {
      focusRow(row);
      show(row.querySelector(".lane b"));
    }
  });
  list.addEventListener("keydown", (event) => {
    const row = event.target.closest(".row");
    if (row === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const stretches = [...row.querySelectorAll(".lane b")];
    const place = stretches.indexOf(here);
    const steps = {
      ArrowRight: () => show(stretches[Math.min(place + 1, stretches.length - 1)]),
      ArrowLeft: () => show(stretches[Math.max(place - 1, 0)]),
      ArrowDown: () => row.nextElementSibling && (show(null), focusRow(row.nextElementSibling)),
      ArrowUp: () => row.previousElementSibling && (show(null), focusRow(row.previousElementSibling)),
      Home: () => show(stretches[0]),
      End: () => show(stretches[stretches.length - 1]),
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    steps[event.key]();
    if (here !== null) here.scrollIntoView({ block: "nearest", inline: "nearest" });
  });

  timeline.querySelector(".zoom").addEventListener("input", (event) => {
    list.parentElement.style.setProperty("--zoom", event.target.value);
  });
  timeline.querySelector(".order").addEventListener("change", (event) => {
    const key = event.target.value;
    const sign = key === "lost" ? -1 : 1;
    const rows = [...list.children];
    rows.sort((a, b) => sign * (a.dataset[key] - b.dataset[key]) || a.dataset.identity - b.dataset.identity);
    list.append(...rows);
  });
}

// A link to a row opens its timeline.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = target === null ? null : target.closest("details:not([open])");
  if (folded === null) return;
  folded.open = true;
  target.scrollIntoView({ block: "center" });
}
addEventListener("hashchange", openTarget);
openTarget();

// Paper cannot be unfolded.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    folded.dataset.opened = "";
  }
});
addEventListener("afterprint", () => {
  for (const opened of document.querySelectorAll("details[data-opened]")) {
    opened.open = false;
    delete opened.dataset.opened;
  }
});
