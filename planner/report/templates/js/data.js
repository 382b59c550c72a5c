// The packed matrix: texts final from the program, looked up and never recomputed.
const VERDICTS = ["fits", "tight", "exceeds", "impossible", "unsupported"];
const GLYPHS = { fits: "●", tight: "◐", exceeds: "✕", unpriced: "?", none: "–", absent: "" };
const WORDS = { fits: "Fits", tight: "Tight", exceeds: "Does not fit", impossible: "Impossible layout", unsupported: "Not supported" };
const PRICES = ["", "no price", "not sold in this size", "over the price limit"];
const SHORT_PRICES = ["", "no price", "not sold", "over limit"];

const find = (selector) => document.querySelector(selector);
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}
const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// Rising numbers are stored as the steps between them, in units of their last digit.
function spelledNumbers(stored) {
  if (Array.isArray(stored)) return stored;
  const { first, digits, steps } = stored, texts = [...first];
  let value = 0;
  for (const step of steps) {
    value += step;
    const plain = String(value).padStart(digits + 1, "0"), cut = plain.length - digits;
    texts.push(plain.slice(0, cut).replace(/\B(?=(\d{3})+$)/g, ",") + (digits ? "." + plain.slice(cut) : ""));
  }
  return texts;
}
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%,()*+-;:=>?@^_`{|}~";
// The number of bytes, a space, then four bytes in every five characters.
function fromBase85(packed) {
  const [length, text] = packed.split(" "), value = new Uint8Array(128), bytes = new DataView(new ArrayBuffer(text.length / 5 * 4));
  for (let digit = 0; digit < 85; digit++) value[DIGITS.charCodeAt(digit)] = digit;
  for (let at = 0, to = 0; at < text.length; at += 5, to += 4) {
    let word = 0;
    for (let digit = at; digit < at + 5; digit++) word = word * 85 + value[text.charCodeAt(digit)];
    bytes.setUint32(to, word);
  }
  return new Uint8Array(bytes.buffer, 0, Number(length));
}
async function readPacked(text) {
  const raw = fromBase85(text);
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const size = new DataView(bytes.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  const cells = head.rows * head.width;
  const columns = {};
  let at = 4 + size;
  for (const [name, planes, turned, stored] of head.columns) {
    const texts = spelledNumbers(stored);
    columns[name] = { texts, turned, low: bytes.subarray(at, at + cells), high: planes > 1 ? bytes.subarray(at + cells, at + 2 * cells) : null };
    at += planes * cells;
  }
  return { head, columns };
}

function openPlan({ head, columns }) {
  const { rows, width, cases, configurations } = head;
  const codeOf = (column, row, col) => {
    const at = column.turned ? col * rows + row : row * width + col;
    return column.high ? column.low[at] | (column.high[at] << 8) : column.low[at];
  };
  const get = (name, row, col) => {
    const column = columns[name];
    const code = column ? codeOf(column, row, col) : 0;
    return code ? column.texts[code - 1] : "";
  };
  const looks = (columns.state ? columns.state.texts : []).map((digits) => {
    const verdict = VERDICTS[digits[0]], price = Number(digits[1]);
    const held = verdict === "fits" || verdict === "tight";
    const kind = held && price ? "unpriced" : held ? verdict : verdict === "exceeds" ? "exceeds" : "none";
    return { verdict, kind, held, buyable: held && !price, price: PRICES[price], short: held && price ? SHORT_PRICES[price] : "", best: digits[2] === "1" };
  });
  const absent = { verdict: "", kind: "absent", held: false, buyable: false, price: "", best: false };
  const look = (row, col) => {
    const code = columns.state ? codeOf(columns.state, row, col) : 0;
    return code ? looks[code - 1] : absent;
  };
  const cellText = (row, col) => {
    const seen = look(row, col), text = get("text", row, col);
    const said = seen.short || (seen.held ? seen.verdict + " " + text : text || seen.verdict);
    return said && GLYPHS[seen.kind] + " " + said;
  };
  const best = new Int32Array(rows).fill(-1);
  const choices = new Int32Array(rows);
  for (let row = 0; row < rows; row++) for (let col = 0; col < width; col++) {
    const seen = look(row, col);
    if (seen.best) best[row] = col;
    if (seen.held) choices[row]++;
  }
  const caseAt = new Map(cases.id.map((id, row) => [id, row]));
  const configurationAt = new Map(configurations.id.map((id, col) => [id, col]));
  const ledgers = new Map(head.details.map(([row, col, phase, lines]) => [row + "," + col, { phase, lines }]));
  return { head, rows, width, cases, configurations, axes: head.axes, get, look, cellText, best, choices, caseAt, configurationAt, ledgers, size: (name, row, col) => Number(get(name, row, col).replaceAll(",", "").replace("<0.1", "0.05")) || 0 };
}

// State in the address: #view?key=value. Filters replace, views and cells add to the history.
function readAddress() {
  const [view, query] = location.hash.slice(1).split("?");
  return { view, at: new URLSearchParams(query || "") };
}
function writeAddress(changes, { view = null, push = false } = {}) {
  const now = readAddress();
  for (const [key, value] of Object.entries(changes)) value ? now.at.set(key, value) : now.at.delete(key);
  const query = now.at.toString();
  const next = "#" + (view || now.view || "decision") + (query ? "?" + query : "");
  if (next !== location.hash) history[push ? "pushState" : "replaceState"](null, "", next);
}
// Links inside the file are short, `cell=row.column`; the address bar shows names that stay true.
function spellOut(plan, at) {
  const [row, col] = (at.get("cell") || "").split(".").map(Number);
  if (!at.has("cell")) return at;
  writeAddress({ cell: "", case: plan.cases.id[row] || "", on: plan.configurations.id[col] || "" });
  return readAddress().at;
}
const cellAddress = (plan, view, row, col) =>
  "#" + view + "?" + new URLSearchParams({ case: plan.cases.id[row], on: plan.configurations.id[col] });
