// The longest context and the most sequences that each configuration holds, for one case.
function startLimits(plan, address) {
  const form = find("#limits-filters"), codes = plan.cases.axes;
  const serving = [...plan.cases.id.keys()].filter((row) => plan.configurations.id.some((_, col) => plan.get("context", row, col) || plan.get("sequences", row, col)));
  const models = [...new Set(serving.map((row) => codes[1][row]))];
  const model = picker(form, "limits-model", "Model", models.map((code) => [String(code), plan.axes[1][3][code]]), () => { refill(); save(); render(); });
  const which = picker(form, "limits-case", "Case", [], () => { save(); render(); });
  const save = () => writeAddress({ limit: plan.cases.id[Number(which.value)] });

  function refill() {
    const rows = serving.filter((row) => codes[1][row] === Number(model.value));
    which.replaceChildren(...rows.map((row) => make("option", { value: row, text: plan.cases.what[row] })));
  }
  function show(at) {
    const row = plan.caseAt.get(at.get("limit"));
    if (row !== undefined && serving.includes(row)) model.value = String(codes[1][row]);
    refill();
    if (row !== undefined && serving.includes(row)) which.value = String(row);
    render();
  }
  function render() {
    const row = Number(which.value);
    const price = (col) => Number(plan.get("hour", row, col).replace(/[^\d.]/g, "")) || Infinity;
    const cols = plan.configurations.order.price.filter((col) => plan.look(row, col).verdict && (plan.size("context", row, col) || plan.size("sequences", row, col))).sort((a, b) => price(a) - price(b) || a - b);
    const chart = find("#limits-chart");
    if (!cols.length) {
      find("#limits-finding").textContent = "";
      chart.replaceChildren(make("p", { class: "empty", text: "No configuration holds even one sequence of this case." }));
      return;
    }
    const longest = cols.reduce((a, b) => (plan.size("context", row, b) > plan.size("context", row, a) ? b : a));
    find("#limits-finding").textContent = "The longest context, " + plan.get("context", row, longest) + " tokens, fits on " + plan.configurations.label[longest] + ".";
    chart.replaceChildren(make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Limits per configuration" }, limitsTable(plan, row, cols, address)));
  }
  return { show };
}
function limitsTable(plan, row, cols, address) {
  const bar = (name, col) => {
    const most = Math.max(...cols.map((other) => plan.size(name, row, other)), 1), size = plan.size(name, row, col);
    return draw("svg", { class: "mini", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, draw("rect", { class: "room", width: 100, height: 8 }), draw("rect", { class: "accent", width: (100 * size / most).toFixed(2), height: 8 }));
  };
  const rows = cols.map((col) => {
    return make("tr", {}, make("th", { scope: "row" }, make("a", { href: address(row, col), text: plan.configurations.label[col] })), make("td", { text: plan.cellText(row, col) }), make("td", { class: "num", text: plan.get("hour", row, col) || "–" }), make("td", { class: "num", text: plan.get("context", row, col) || "–" }), make("td", { class: "track" }, bar("context", col)), make("td", { class: "num", text: plan.get("sequences", row, col) || "–" }), make("td", { class: "track" }, bar("sequences", col)));
  });
  const head = ["Configuration", "This case", "Per hour", "Longest context", "of the longest", "Most sequences", "of the most"].map((text, place) => make("th", { scope: "col", class: place > 1 ? "num" : null }, text.startsWith("of ") ? make("span", { class: "hush", text }) : text));
  return make("table", { class: "numbers limits" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}
