// One cell explained: what it holds, against what the card has, and the nearest ways out.
const NEIGHBOURS_SHOWN = 6;

function explainCell(plan, row, col, address) {
  const value = (name) => plan.get(name, row, col);
  const look = plan.look(row, col), configuration = plan.configurations;
  const parts = plan.head.parts.map(([name, label]) => ({ name, label, shown: value(name), size: plan.size(name, row, col) })).filter((part) => part.shown);
  const nodes = [
    make("button", { type: "button", class: "close quiet", "aria-label": "Close explanation", text: "✕" }),
    make("h2", { id: "h-explain" }, plan.cases.model[row], " on ", configuration.label[col]),
    make("p", { class: "mute", text: plan.cases.what[row] }),
    make("p", { class: "verdict" }, make("b", { text: headline(look, value) }), sentence(plan, look, value, configuration.usable[col])),
  ];
  if (value("reason")) nodes.push(make("p", { text: value("reason") }));
  if (parts.length) nodes.push(stackedBar(plan, row, col, parts), partsTable(parts, value));
  nodes.push(...waysOut(plan, row, col, look, address), factsOf(value, configuration, col), ...ledgerOf(plan, row, col));
  nodes.push(make("h3", { text: "In a terminal" }), make("pre", { tabindex: 0, "aria-label": "Command" }, make("code", { text: command(plan, row, col) })));
  return nodes;
}
function headline(look, value) {
  if (!look.verdict) return "Not part of the grid. ";
  const extra = look.held ? " with " + value("text") + " free" : look.verdict === "exceeds" ? ", " + value("text") + " its budget" : "";
  return GLYPHS[look.kind] + " " + WORDS[look.verdict] + extra + (look.best ? ", the cheapest for this case" : look.price ? ", " + look.price : "") + ". ";
}
function sentence(plan, look, value, usable) {
  if (!value("total")) return "";
  const range = value("low") && value("high") ? " (" + value("low") + " to " + value("high") + ")" : "";
  return "The fullest GPU needs " + value("total") + " GiB" + range + " of " + usable + " usable" + (value("budget") ? ", " + value("budget") + " of them within the budget." : ".");
}
function stackedBar(plan, row, col, parts) {
  const usable = Number(plan.configurations.usable[col].replaceAll(",", "")), budget = plan.size("budget", row, col);
  const low = plan.size("low", row, col), high = plan.size("high", row, col);
  const end = Math.max(usable, high, parts.reduce((sum, part) => sum + part.size, 0)) * 1.02;
  const at = (size) => (600 * size / end).toFixed(1);
  const svg = draw("svg", { class: "stack", viewBox: "0 0 600 86", preserveAspectRatio: "none", role: "img", "aria-label": "Memory of one GPU by component, against its usable memory" });
  svg.append(draw("rect", { class: "room", x: 0, y: 20, width: at(usable), height: 34, rx: 2 }));
  let start = 0;
  for (const { name, size, label, shown } of parts) {
    svg.append(draw("rect", { class: "c-" + name, x: at(start), y: 20, width: Math.max(0, at(size) - 1), height: 34 }, draw("title", { text: label + " " + shown + " GiB" })));
    start += size;
  }
  svg.append(draw("path", { class: "frame", d: `M${at(usable)} 12V62` }));
  if (budget && budget !== usable) svg.append(draw("path", { class: "limit", d: `M${at(budget)} 16V58` }));
  if (low && high) svg.append(draw("path", { class: "whisker", d: `M${at(low)} 66V74M${at(low)} 70H${at(high)}M${at(high)} 66V74` }));
  const marks = make("p", { class: "mute", text: "Solid line: " + plan.configurations.usable[col] + " GiB usable. Dashed: the budget." + (low && high ? " Below: from the low to the high estimate." : "") });
  return make("div", {}, svg, marks);
}
function partsTable(parts, value) {
  const rows = parts.map(({ name, label, shown }) => make("tr", {}, make("th", { scope: "row" }, swatch(name), label), make("td", { class: "num", text: shown })));
  rows.push(make("tr", { class: "sum" }, make("th", { scope: "row", text: "Total" }), make("td", { class: "num", text: value("total") })));
  return make("table", { class: "parts" }, make("thead", { class: "hush" }, make("tr", {}, make("th", { scope: "col", text: "Part" }), make("th", { scope: "col", text: "GiB per GPU" }))), make("tbody", {}, ...rows));
}
function swatch(name) {
  return draw("svg", { class: "swatch", viewBox: "0 0 8 8", "aria-hidden": "true" }, draw("rect", { class: "c-" + name, width: 8, height: 8 }));
}
function factsOf(value, configuration, col) {
  const pairs = [["Price", value("hour") && value("hour") + " an hour" + (value("month") ? ", " + value("month") + " a month" : "") + (value("extra") ? " (" + value("extra") + " against the cheapest)" : "")], ["Offer", value("offer") || configuration.offer[col]], ["Layout", value("layout")], ["Replicas", value("replicas")], ["Tokens per second", value("speed")], ["Time to first token", value("ttft") && value("ttft") + " ms"], ["Time per output token", value("tpot") && value("tpot") + " ms"], ["Longest context", value("context") && value("context") + " tokens"], ["Most sequences at once", value("sequences")]];
  const shown = pairs.filter(([, text]) => text).map(([name, text]) => make("div", {}, make("dt", { text: name }), make("dd", { text })));
  return shown.length ? make("div", {}, make("h3", { text: "Price and speed" }), make("dl", { class: "facts" }, ...shown)) : "";
}
// Cases of the same workload and model that differ in one axis and fit here; and other hardware.
function waysOut(plan, row, col, look, address) {
  const ways = [], label = plan.configurations.label;
  const link = (other, where, text, note) => make("li", {}, make("a", { href: address(other, where), text }), note ? " " + note : "");
  if (!look.buyable) for (const { other, axis } of neighbours(plan, row, (o) => plan.look(o, col).held)) {
    ways.push(link(other, col, axis, plan.cellText(other, col)));
  }
  const shownWays = ways.slice(0, NEIGHBOURS_SHOWN), hardware = [];
  if (!look.buyable) for (let where = 0; where < plan.width; where++) {
    if (plan.configurations.gpu[where] === plan.configurations.gpu[col] && where !== col && plan.look(row, where).held) {
      hardware.push(link(row, where, label[where], plan.cellText(row, where)));
      break;
    }
  }
  const best = plan.best[row];
  if (best >= 0 && best !== col) hardware.push(link(row, best, label[best], "★ cheapest that fits, " + plan.get("hour", row, best) + " an hour"));
  const nodes = [];
  const advice = adviceOf(plan, row, col, look);
  if (advice) nodes.push(make("h3", { text: "What would make it fit" }), make("p", { text: advice }));
  if (shownWays.length) nodes.push(make("h3", { text: "One change that makes it fit here" }), make("ul", { class: "ways" }, ...shownWays));
  if (hardware.length) nodes.push(make("h3", { text: "Other hardware for this case" }), make("ul", { class: "ways" }, ...hardware));
  if (!look.held && look.verdict && !shownWays.length && !hardware.length) nodes.push(make("p", { class: "mute", text: "No single change among the cases of this plan makes it fit here, and no configuration of the plan holds it." }));
  return nodes;
}
function adviceOf(plan, row, col, look) {
  const told = plan.get("advice", row, col), context = plan.get("context", row, col), sequences = plan.get("sequences", row, col);
  if (told) return told.replace(/^./, (letter) => letter.toUpperCase()) + ".";
  if (look.verdict !== "exceeds" || !context || !sequences) return "";
  if (context === "0" || sequences === "0") return "No context at all fits here: take a smaller weight format or more GPUs.";
  return "It fits with " + context + " tokens of context at this load, or with " + sequences + " sequences at this context.";
}
function neighbours(plan, row, wanted) {
  const found = [], codes = plan.cases.axes;
  for (let other = 0; other < plan.rows; other++) {
    if (other === row || codes[0][other] !== codes[0][row] || codes[1][other] !== codes[1][row]) continue;
    const differing = codes.map((axis, position) => (axis[other] !== axis[row] ? position : -1)).filter((position) => position >= 0);
    const implied = differing.length === 2 && differing.includes(2) ? differing.filter((p) => p === 2) : differing;
    if (implied.length !== 1 || !wanted(other)) continue;
    const [, name, values] = plan.axes[implied[0]];
    found.push({ other, axis: name + " " + (values[codes[implied[0]][other]] || "none") });
  }
  return found;
}
function ledgerOf(plan, row, col) {
  const ledger = plan.ledgers.get(row + "," + col);
  if (!ledger || !ledger.lines.length) return [];
  const entries = ledger.lines.flatMap(([item, component, low, expected, high, formula, substituted, source]) => [
    make("dt", {}, swatch(component), item + ": " + expected + " GiB (" + low + " to " + high + ")"),
    formula ? make("dd", {}, make("code", { text: formula })) : "",
    substituted ? make("dd", {}, make("code", { text: "= " + substituted })) : "",
    source ? make("dd", { class: "mute", text: source }) : "",
  ]).filter(Boolean);
  const phase = ledger.phase ? make("p", { class: "mute", text: "At its peak: " + ledger.phase }) : "";
  return [make("details", {}, make("summary", { text: "Formulas with their numbers" }), phase, make("dl", { class: "ledger" }, ...entries))];
}
function command(plan, row, col) {
  const quoted = (text) => (/^[\w./:=,@+-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'");
  return "planner explain " + quoted(plan.head.scenario) + " --case " + quoted(plan.cases.id[row]) + " --gpu " + quoted(plan.configurations.gpuId[col]) + " --count " + plan.configurations.count[col];
}
