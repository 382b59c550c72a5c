// One model: the memory of its methods or formats side by side, against the lines of the cards.
const BARS_SHOWN = 16;

function picker(form, id, label, options, onChange) {
  const select = make("select", { id }, ...options.map(([value, text]) => make("option", { value, text })));
  select.addEventListener("input", onChange);
  form.append(make("label", {}, label + " ", select));
  return select;
}
function startCompare(plan, address) {
  const form = find("#compare-filters"), codes = plan.cases.axes;
  const usedAxes = plan.axes.map(([axis, label], position) => ({ axis, label, position })).filter(({ axis, position }) => axis !== "workload" && axis !== "model" && plan.axes[position][2].length > 1);
  const model = picker(form, "compare-model", "Model", plan.axes[1][3].map((text, code) => [String(code), text]), changed);
  const axis = picker(form, "compare-axis", "Compare", usedAxes.map(({ axis: name, label }) => [name, label]), changed);
  const on = picker(form, "compare-on", "On", plan.configurations.order.memory.map((col) => [plan.configurations.id[col], plan.configurations.label[col]]), changed);
  const fixed = make("div", { class: "filters" });
  const held = make("details", { class: "more" }, make("summary", { text: "Hold the other axes" }), fixed);
  form.append(held);
  let fixedSelects = [];

  const reference = () => {
    const single = plan.configurations.order.memory.filter((col) => plan.configurations.count[col] === 1);
    const col = single.length ? single[single.length - 1] : plan.configurations.order.memory[0];
    return plan.configurations.id[col];
  };
  function show(at) {
    const wanted = plan.axes[1][2].indexOf(at.get("model"));
    model.value = String(Math.max(0, wanted));
    axis.value = usedAxes.some((used) => used.axis === at.get("axis")) ? at.get("axis") : usedAxes.length ? usedAxes[0].axis : "";
    on.value = plan.configurationAt.has(at.get("with")) ? at.get("with") : reference();
    refill(at);
    render();
  }
  function changed(event) {
    if (event.target === model || event.target === axis) refill(readAddress().at);
    const changes = { model: plan.axes[1][2][Number(model.value)], axis: axis.value, with: on.value };
    for (const { key, select } of fixedSelects) changes[key] = select.value;
    writeAddress(changes);
    render();
  }
  const rowsOfModel = () => [...plan.cases.id.keys()].filter((row) => codes[1][row] === Number(model.value));
  function refill(at) {
    const rows = rowsOfModel();
    fixedSelects = usedAxes.filter((used) => used.axis !== axis.value).map(({ axis: name, label, position }) => {
      const present = [...new Set(rows.map((row) => codes[position][row]))].filter((code) => code >= 0).sort((a, b) => a - b);
      if (present.length < 2) return null;
      const select = make("select", { id: "compare-" + name }, make("option", { value: "", text: "first" }), ...present.map((code) => make("option", { value: plan.axes[position][2][code], text: plan.axes[position][3][code] })));
      select.value = at.get("c." + name) || "";
      if (select.selectedIndex < 0) select.selectedIndex = 0;
      select.addEventListener("input", changed);
      return { key: "c." + name, select, position, label };
    }).filter(Boolean);
    fixed.replaceChildren(...fixedSelects.map(({ label, select }) => make("label", {}, label + " ", select)));
    held.hidden = !fixedSelects.length;
  }
  // For each value the first case, in declared order, that agrees with every fixed axis it has.
  function bars(col) {
    const { position } = usedAxes.find((used) => used.axis === axis.value) || { position: 2 };
    const found = new Map();
    for (const row of rowsOfModel()) {
      const code = codes[position][row];
      if (code < 0 || found.has(code) || !plan.get("total", row, col)) continue;
      const agrees = fixedSelects.every(({ select, position: other }) => !select.value || codes[other][row] < 0 || plan.axes[other][2][codes[other][row]] === select.value);
      if (agrees) found.set(code, row);
    }
    return [...found].sort(([a], [b]) => a - b).slice(0, BARS_SHOWN).map(([code, row]) => ({ name: plan.axes[position][3][code], row }));
  }
  function render() {
    const col = plan.configurationAt.get(on.value), found = bars(col), chart = find("#compare-chart");
    if (!found.length) {
      find("#compare-finding").textContent = "";
      chart.replaceChildren(make("p", { class: "empty", text: "No case of this model has an estimate on " + plan.configurations.label[col] + ". Choose other hardware." }));
      return;
    }
    const total = (bar) => plan.size("total", bar.row, col);
    const least = found.reduce((a, b) => (total(b) < total(a) ? b : a)), most = found.reduce((a, b) => (total(b) > total(a) ? b : a));
    find("#compare-finding").textContent = found.length < 2 ? "" : most.name.replace(/^./, (letter) => letter.toUpperCase()) + " needs " + plan.get("total", most.row, col) + " GiB per GPU; " + least.name + " needs " + plan.get("total", least.row, col) + " GiB.";
    chart.replaceChildren(make("div", { class: "chart-frame" }, compareChart(plan, col, found, chart.clientWidth)), keyOf(plan, col, found), barLinks(plan, col, found, address));
  }
  let pending = 0;
  addEventListener("resize", () => { clearTimeout(pending); pending = setTimeout(() => { if (find("#compare-chart").clientWidth) render(); }, 120); });
  return { show };
}
function cardLines(plan, top) {
  const seen = new Map();
  plan.configurations.order.memory.forEach((col) => { if (!seen.has(plan.configurations.gpu[col])) seen.set(plan.configurations.gpu[col], plan.configurations.usable[col]); });
  const cards = [...seen].map(([gpu, usable]) => ({ gpu, usable, size: Number(usable.replaceAll(",", "")) })).filter(({ size }) => size <= top).sort((a, b) => a.size - b.size);
  const lines = [];
  for (const card of cards) {
    const near = lines.find((line) => Math.abs(line.size - card.size) < top / 45);
    if (near) near.names.push(card.gpu);
    else lines.push({ size: card.size, usable: card.usable, names: [card.gpu] });
  }
  return lines;
}
function compareChart(plan, col, found, room) {
  const width = Math.max(320, Math.min(1180, room)), slim = width < 640;
  const height = 400, base = 352, left = slim ? 4 : 46, right = slim ? 92 : 230;
  const biggest = Math.max(...found.map(({ row }) => Math.max(plan.size("total", row, col), plan.size("high", row, col))));
  const cards = plan.configurations.usable.map((text) => Number(text.replaceAll(",", ""))).sort((a, b) => a - b);
  const top = Math.max(biggest, cards.find((size) => size >= biggest) || biggest) * 1.08;
  const y = (size) => base - (base - 22) * size / top;
  const svg = draw("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Stacked memory per GPU on " + plan.configurations.label[col] + ", with the usable memory of the cards as lines" });
  const step = (width - left - right) / found.length, bar = Math.min(86, step * .62);
  found.forEach(({ name, row }, place) => {
    const x = left + step * (place + .5) - bar / 2;
    let size = 0;
    for (const [part, label] of plan.head.parts) {
      const own = plan.size(part, row, col);
      if (!own) continue;
      svg.append(draw("rect", { class: "c-" + part, x, width: bar, y: y(size + own), height: Math.max(0, y(size) - y(size + own) - .7) }, draw("title", { text: label + " " + plan.get(part, row, col) + " GiB" })));
      size += own;
    }
    svg.append(draw("text", { class: "strong", x: x + bar / 2, y: y(size) - 7, "text-anchor": "middle", text: plan.get("total", row, col) }));
    const words = name.length > step / 6.2 ? name.slice(0, Math.max(4, Math.floor(step / 6.2) - 1)) + "…" : name;
    svg.append(draw("text", { class: "strong", x: x + bar / 2, y: base + 18, "text-anchor": "middle", text: words }, draw("title", { text: name })));
  });
  let last = Infinity;
  for (const { size, usable, names } of cardLines(plan, top)) {
    svg.append(draw("path", { class: "rule", d: `M${left} ${y(size)}H${width - right}` }));
    const label = Math.min(y(size) + 4, last - 13);
    last = label;
    const words = slim ? (names.length > 1 ? names.length + " cards" : names[0].replace(/^(NVIDIA|AMD|Intel|GeForce)\s/, "").slice(0, 8)) : names[0] + (names.length > 1 ? " +" + (names.length - 1) : "");
    svg.append(draw("text", { x: width - right + 8, y: label, text: usable + " " + words }, draw("title", { text: names.join(", ") })));
  }
  svg.append(draw("path", { class: "axis", d: `M${left} ${base}H${width - right}` }), draw("text", { x: 0, y: 14, text: "GiB per GPU" }));
  return svg;
}
function keyOf(plan, col, found) {
  const used = plan.head.parts.filter(([part]) => found.some(({ row }) => plan.size(part, row, col)));
  return make("ul", { class: "key", "aria-label": "Colours" }, ...used.map(([part, label]) => make("li", {}, swatch(part), label)));
}
function barLinks(plan, col, found, address) {
  const used = plan.head.parts.filter(([part]) => found.some(({ row }) => plan.size(part, row, col)));
  const rows = found.map(({ name, row }) => make("tr", {}, make("th", { scope: "row" }, make("a", { href: address(row, col), text: name }), " ", make("span", { class: "mute", text: plan.cases.what[row].replace(name + " · ", "") })), ...used.map(([part]) => make("td", { class: "num", text: plan.get(part, row, col) || "–" })), make("td", { class: "num" }, make("b", { text: plan.get("total", row, col) }))));
  const head = make("tr", {}, make("th", { scope: "col", text: "GiB per GPU" }), ...used.map(([, label]) => make("th", { scope: "col", class: "num", text: label })), make("th", { scope: "col", class: "num", text: "Total" }));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The same as a table" }, make("table", { class: "numbers" }, make("thead", {}, head), make("tbody", {}, ...rows)));
}
