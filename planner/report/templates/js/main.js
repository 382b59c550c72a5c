// Start: the static views work at once, the matrix as soon as it is unpacked.
const root = document.documentElement;
root.classList.add("scripted");

function savedTheme() {
  try { return localStorage.getItem("planner-theme"); } catch { return null; }
}
function startTheme() {
  if (savedTheme()) root.dataset.theme = savedTheme();
  find("#theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("planner-theme", root.dataset.theme); } catch { /* a file without storage keeps it for now */ }
  });
}
function showView(name) {
  const known = /^\w+$/.test(name) && find("#view-" + name) ? name : "decision";
  for (const view of document.querySelectorAll(".view")) view.classList.toggle("on", view.id === "view-" + known);
  document.body.classList.toggle("aside", known !== "decision");
  for (const link of document.querySelectorAll("nav.views a")) {
    if (link.dataset.view === known) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  return known;
}
function fillOthers(plan) {
  const rows = [...plan.cases.id.keys()].filter((row) => !plan.cases.bought[row]).map((row) => {
    const col = plan.best[row];
    const answer = col < 0 ? make("td", { colspan: 4, class: "mute", text: GLYPHS.exceeds + " " + (plan.head.outcomes[plan.cases.outcome[row]] || plan.cases.outcome[row]) }) : null;
    const found = col < 0 ? [answer] : [make("td", {}, make("a", { href: cellAddress(plan, "decision", row, col), text: plan.configurations.label[col] })), make("td", { class: "num", text: plan.get("text", row, col) }), make("td", { class: "num", text: plan.get("hour", row, col) }), make("td", { class: "num", text: plan.get("month", row, col) || "–" })];
    return make("tr", {}, make("th", { scope: "row" }, make("b", { text: plan.cases.model[row] }), " ", make("span", { class: "mute", text: plan.cases.what[row] })), ...found, make("td", { class: "mute", text: plan.cases.runner[row] }));
  });
  const head = ["Case", "Cheapest that fits", "Free", "Hour", "Month", "Runner-up"].map((text, place) => make("th", { scope: "col", class: place > 1 && place < 5 ? "num" : null, text }));
  find("#others-table").replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
}
const barOf = (...parts) => draw("svg", { class: "mini", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, draw("rect", { class: "room", width: 100 }), ...parts);
function drawShares() {
  for (const place of document.querySelectorAll("[data-share]")) place.append(barOf(draw("rect", { class: "accent", width: place.dataset.share })));
}
// A thin bar beside each purchase: what fills its fullest GPU, of what is usable.
function drawMemory(plan) {
  for (const place of document.querySelectorAll("[data-cell]")) {
    const [row, col] = place.dataset.cell.split(".").map(Number), usable = Number(plan.configurations.usable[col].replaceAll(",", ""));
    const bar = barOf();
    let at = 0;
    for (const [name] of plan.head.parts) {
      const width = 100 * plan.size(name, row, col) / usable;
      if (width) bar.append(draw("rect", { class: "c-" + name, x: at.toFixed(1), width: Math.max(.6, width).toFixed(1) }));
      at += width;
    }
    place.prepend(bar);
  }
}
function start(plan) {
  const panel = find("#explain");
  drawMemory(plan);
  let opener = null, open = "", shownView = "", shownFilters = null;
  const address = (row, col) => cellAddress(plan, shownView, row, col);
  const explain = (row, col) => {
    opener = document.activeElement;
    writeAddress({ case: plan.cases.id[row], on: plan.configurations.id[col] }, { push: true });
    route();
    panel.focus({ preventScroll: true });
  };
  const close = () => {
    writeAddress({ case: "", on: "" }, { push: true });
    route();
    if (opener && opener.isConnected) opener.focus({ preventScroll: true });
    else if (shownView === "matrix") views.matrix.focus();
  };
  const views = { matrix: startMatrix(plan, explain), compare: startCompare(plan, address) };
  if (find("#view-limits")) views.limits = startLimits(plan, address);

  function showCell(at) {
    const row = plan.caseAt.get(at.get("case")), col = plan.configurationAt.get(at.get("on"));
    const known = row !== undefined && col !== undefined, next = known ? shownView + " " + row + "," + col : "";
    document.body.classList.toggle("explaining", known);
    panel.hidden = !known;
    if (next !== open && known) {
      panel.replaceChildren(...explainCell(plan, row, col, address));
      panel.scrollTop = 0;
    }
    open = next;
    if (shownView === "matrix") views.matrix.select(known ? row : null, col);
  }
  function route() {
    const { view, at: written } = readAddress(), at = spellOut(plan, written);
    const next = showView(view || "decision"), filters = [...at].filter(([key]) => key !== "case" && key !== "on").join();
    if (views[next] && (next !== shownView || filters !== shownFilters)) views[next].show(at);
    shownView = next;
    shownFilters = filters;
    showCell(at);
  }
  addEventListener("hashchange", () => { opener = document.activeElement; route(); if (!panel.hidden && readAddress().at.get("on")) panel.focus({ preventScroll: true }); });
  panel.addEventListener("click", (event) => { if (event.target.closest(".close")) close(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !panel.hidden) close();
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      if (shownView !== "matrix") { writeAddress({}, { view: "matrix", push: true }); route(); }
      find("#q").focus();
      event.preventDefault();
    }
  });
  const others = find("#others");
  if (others) others.addEventListener("toggle", () => { if (others.open && !find("#others-table").firstChild) fillOthers(plan); });
  route();
}
function refuse(error) {
  for (const id of ["#grid-frame", "#compare-chart", "#limits-chart"]) {
    const place = find(id);
    if (place) place.replaceChildren(make("p", { class: "empty", text: "This browser can’t unpack the matrix (" + error.message + "). matrix.csv and cells.csv beside this file hold the same numbers." }));
  }
}
startTheme();
drawShares();
showView(readAddress().view || "decision");
addEventListener("hashchange", () => showView(readAddress().view || "decision"));
readPacked(find("#packed").textContent).then(openPlan).then(start).then(() => { root.dataset.ready = Math.round(performance.now()); }).catch(refuse);
