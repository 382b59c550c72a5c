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
    which.value = String(rows.find((row) => plan.cases.bought[row]) ?? rows[0]);
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
    const able = cols.filter((col) => !["impossible", "unsupported"].includes(plan.look(row, col).verdict));
    const picture = frontier(plan, row, able.sort((a, b) => (plan.best[row] === b) - (plan.best[row] === a)), chart.clientWidth);
    chart.replaceChildren(picture || "", make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Limits per configuration" }, limitsTable(plan, row, cols, address)));
  }
  return { show };
}
// Sequences that fit at once against the context of each: one line a configuration, and what is asked for.
function frontier(plan, row, cols, room) {
  const codes = plan.cases.axes, position = (axis) => plan.axes.findIndex(([name]) => name === axis);
  const across = position("context_tokens"), load = position("concurrent_sequences");
  if (across < 0) return null;
  const family = [...plan.cases.id.keys()].filter((other) => codes.every((axis, at) => at === across || at === load || axis[other] === axis[row]));
  const number = (axis, other) => Number((plan.axes[axis][2][codes[axis][other]] || "").replaceAll(",", ""));
  const byContext = new Map(family.map((other) => [number(across, other), other]));
  const contexts = [...byContext.keys()].sort((a, b) => a - b);
  if (contexts.length < 2) return null;
  const lines = cols.map((col) => ({ col, points: contexts.map((context) => [context, plan.size("sequences", byContext.get(context), col)]).filter(([, size]) => size >= 1) })).filter(({ points }) => points.length > 1);
  const shown = spread(lines);
  if (!shown.length) return null;
  const asked = load < 0 ? [] : family.map((other) => [number(across, other), number(load, other), other]);
  return frontierChart(plan, row, shown, asked, contexts, room);
}
// Few lines that tell apart: the cheapest, then those that end farthest from the lines already there.
function spread(lines) {
  const end = ({ points }) => Math.log2(points[points.length - 1][1]), kept = lines.slice(0, 1), rest = lines.slice(1);
  while (kept.length < 8 && rest.length) {
    const far = (line) => Math.min(...kept.map((other) => Math.abs(end(other) - end(line))));
    const next = rest.reduce((a, b) => (far(b) > far(a) ? b : a));
    if (far(next) < .3) break;
    kept.push(next);
    rest.splice(rest.indexOf(next), 1);
  }
  return kept;
}
function frontierChart(plan, row, lines, asked, contexts, room) {
  const width = Math.max(320, Math.min(980, room)), height = 340, left = 44, right = width < 640 ? 104 : 190, top = 16, base = 292;
  const sizes = [...lines.flatMap(({ points }) => points.map(([, size]) => size)), ...asked.map(([, size]) => size)].filter((size) => size > 0);
  const low = Math.floor(Math.log2(Math.min(...sizes))), high = Math.ceil(Math.log2(Math.max(...sizes))) || 1;
  const x = (context) => left + (width - left - right) * Math.log2(context / contexts[0]) / Math.log2(contexts[contexts.length - 1] / contexts[0]);
  const y = (size) => base - (base - top) * (Math.log2(size) - low) / Math.max(1, high - low);
  const svg = draw("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Sequences that fit at once against the context of each, one line a configuration" });
  for (let power = low; power <= high; power += Math.max(1, Math.round((high - low) / 6))) svg.append(draw("path", { class: "faint", d: `M${left} ${y(2 ** power)}H${width - right}` }), draw("text", { x: left - 8, y: y(2 ** power) + 4, "text-anchor": "end", text: String(2 ** power) }));
  for (const context of contexts) svg.append(draw("text", { x: x(context), y: base + 20, "text-anchor": "middle", text: plan.axes.find(([name]) => name === "context_tokens")[3][plan.axes.find(([name]) => name === "context_tokens")[2].findIndex((text) => Number(text.replaceAll(",", "")) === context)] }));
  svg.append(draw("path", { class: "axis", d: `M${left} ${base}H${width - right}` }), draw("text", { x: left, y: base + 40, text: "tokens of context of each sequence; sequences at once upwards; circles are the cases asked for" }));
  const labels = [];
  for (const { col, points } of lines) {
    const best = plan.best[row] === col, [last, size] = points[points.length - 1];
    svg.append(draw("path", { class: best ? "line best" : "line", d: "M" + points.map(([context, held]) => x(context).toFixed(1) + " " + y(held).toFixed(1)).join("L") }, draw("title", { text: plan.configurations.label[col] })));
    labels.push({ at: y(size), x: x(last), text: (best ? "★ " : "") + plan.configurations.label[col], best });
  }
  labels.sort((a, b) => a.at - b.at).reduce((above, label) => { label.place = Math.max(label.at + 4, above + 14); return label.place; }, 0);
  for (const { x: from, place, text, best } of labels) svg.append(draw("text", { class: best ? "strong" : null, x: from + 8, y: place, text }));
  for (const [context, size, other] of asked) if (size) svg.append(draw("circle", { class: other === row ? "asked this" : "asked", cx: x(context), cy: y(size), r: 5 }, draw("title", { text: plan.cases.what[other] })));
  return make("div", { class: "chart-frame" }, svg);
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
