// The fit matrix: only what is in sight is in the page, in both directions.
function startMatrix(plan, explain) {
  const narrow = matchMedia("(max-width: 720px)"), rowHeight = () => (narrow.matches ? 46 : 30);
  const frame = find("#grid-frame"), body = find("#grid-body"), head = find("#grid-head"), grid = find("#grid");
  const controls = { q: find("#q"), show: find("#show"), sort: find("#sort"), group: find("#group"), columns: find("#columns"), hide: find("#hide") };
  const texts = plan.cases.id.map((id, row) => (id + " " + plan.cases.model[row] + " " + plan.cases.what[row] + " " + plan.axes.map(([, , values], axis) => values[plan.cases.axes[axis][row]] || "").join(" ")).toLowerCase());
  const axisControls = plan.axes.map(([axis, label, values, shownAs], position) => {
    if (values.length < 2) return null;
    const select = make("select", { id: "axis-" + axis }, make("option", { value: "", text: "any" }), ...values.map((value, code) => make("option", { value, text: shownAs[code] })));
    find("#axes").append(make("label", {}, label + " ", select));
    return { key: "f." + axis, select, position, values };
  }).filter(Boolean);
  let lines = [], shown = [], cursor = { line: 0, col: 0 }, drawn = "", headed = null, selected = null;

  function readControls(at) {
    for (const [key, control] of Object.entries(controls)) {
      if (key === "hide") control.checked = at.get("hide") === "1";
      else control.value = at.get(key) || (key === "columns" ? "price" : "");
    }
    for (const { key, select } of axisControls) select.value = at.get(key) || "";
  }
  function countActive() {
    const active = axisControls.filter(({ select }) => select.value).length + (controls.sort.value ? 1 : 0) + (controls.group.value ? 1 : 0) + (controls.columns.value === "price" ? 0 : 1);
    find("#active").textContent = active ? " · " + active + " set" : "";
  }
  function writeControls() {
    const changes = { hide: controls.hide.checked ? "1" : "" };
    for (const key of ["q", "show", "sort", "group"]) changes[key] = controls[key].value;
    changes.columns = controls.columns.value === "price" ? "" : controls.columns.value;
    for (const { key, select } of axisControls) changes[key] = select.value;
    writeAddress(changes);
  }
  function matching() {
    const wanted = controls.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fixed = axisControls.filter(({ select }) => select.value).map(({ position, select, values }) => [plan.cases.axes[position], values.indexOf(select.value)]);
    const show = controls.show.value, found = [];
    for (let row = 0; row < plan.rows; row++) {
      if (show === "bought" && !plan.cases.bought[row]) continue;
      if (show === "some" && !plan.choices[row]) continue;
      if (show === "none" && plan.choices[row]) continue;
      if (fixed.every(([codes, code]) => codes[row] === code) && wanted.every((word) => texts[row].includes(word))) found.push(row);
    }
    return found;
  }
  function sorted(rows) {
    const rank = new Int32Array(plan.width);
    plan.configurations.order.price.forEach((col, place) => { rank[col] = place; });
    const price = (row) => (plan.best[row] < 0 ? plan.width : rank[plan.best[row]]);
    const orders = {
      price: (a, b) => price(a) - price(b) || a - b,
      fits: (a, b) => plan.choices[b] - plan.choices[a] || a - b,
      name: (a, b) => (plan.cases.id[a] < plan.cases.id[b] ? -1 : 1),
    };
    return controls.sort.value ? rows.sort(orders[controls.sort.value]) : rows;
  }
  function grouped(rows) {
    const axis = { workload: 0, model: 1 }[controls.group.value];
    if (axis === undefined) return rows.map((row) => ({ row }));
    const groups = new Map();
    for (const row of rows) {
      const code = plan.cases.axes[axis][row];
      if (!groups.has(code)) groups.set(code, []);
      groups.get(code).push(row);
    }
    return [...groups].flatMap(([code, members]) => [{ title: plan.axes[axis][2][code], size: members.length }, ...members.map((row) => ({ row }))]);
  }
  function refresh() {
    const rows = sorted(matching());
    lines = grouped(rows);
    shown = plan.configurations.order[controls.columns.value] || plan.configurations.order.price;
    if (controls.hide.checked) shown = shown.filter((col) => rows.some((row) => plan.look(row, col).held));
    const some = rows.filter((row) => plan.choices[row]).length;
    find("#count").textContent = rows.length + " of " + plan.rows + " cases × " + shown.length + " of " + plan.width + " configurations";
    find("#matrix-finding").textContent = !rows.length ? "No case matches these filters." : some === rows.length ? "Every case shown fits somewhere." : some + " of the " + rows.length + " cases shown fit somewhere.";
    cursor = { line: Math.max(0, lines.findIndex((line) => line.row !== undefined)), col: 0 };
    countActive();
    if (headed !== shown.join()) drawHead();
    grid.setAttribute("aria-rowcount", lines.length + 1);
    drawn = "";
    paint();
  }
  function drawHead() {
    headed = shown.join();
    grid.setAttribute("aria-colcount", shown.length + 1);
    head.replaceChildren(make("tr", { "aria-rowindex": 1 }, make("th", { scope: "col", text: "Case" }), ...shown.map((col) => make("th", { scope: "col", title: plan.configurations.label[col] + ", " + plan.configurations.usable[col] + " GiB usable each" }, plan.configurations.label[col], make("small", { text: plan.configurations.hour[col] ? plan.configurations.hour[col] + "/h" : "no price" })))));
    grid.style.setProperty("--first", firstWidth() + "px");
    grid.style.width = firstWidth() + shown.length * columnWidth() + "px";
  }
  const columnWidth = () => (narrow.matches ? 100 : 112);
  const firstWidth = () => (narrow.matches ? 168 : frame.clientWidth < 900 ? 290 : 420);

  function paint() {
    const width = columnWidth(), inner = frame.clientWidth - firstWidth();
    const top = Math.max(0, Math.floor(frame.scrollTop / rowHeight()) - 4), bottom = Math.min(lines.length, top + Math.ceil(frame.clientHeight / rowHeight()) + 8);
    const left = Math.max(0, Math.floor(frame.scrollLeft / width) - 1), right = Math.min(shown.length, left + Math.ceil(Math.max(inner, 200) / width) + 3);
    const key = [top, bottom, left, right].join();
    if (key === drawn) return;
    drawn = key;
    const parts = top ? [gapRow(top)] : [];
    for (let line = top; line < bottom; line++) parts.push(lines[line].row === undefined ? groupRow(line) : caseRow(line, left, right));
    if (bottom < lines.length) parts.push(gapRow(lines.length - bottom));
    body.replaceChildren(...parts);
  }
  function gapRow(count) {
    const row = make("tr", { "aria-hidden": "true" });
    row.style.height = count * rowHeight() + "px";
    return row;
  }
  function groupRow(line) {
    const { title, size } = lines[line];
    return make("tr", { class: "group", "aria-rowindex": line + 2 }, make("th", { scope: "row", text: title + " (" + size + ")", title }), shown.length ? make("td", { colspan: shown.length }) : null);
  }
  function caseRow(line, left, right) {
    const { row } = lines[line];
    const name = make("th", { scope: "row", title: plan.cases.id[row] }, controls.group.value === "model" ? null : make("b", { text: plan.cases.model[row] }), " ", make("span", { class: "mute", text: plan.cases.what[row] }));
    const cells = [name];
    if (left) cells.push(make("td", { class: "gap", colspan: left, "aria-hidden": "true" }));
    for (let place = left; place < right; place++) cells.push(cell(line, row, place));
    if (right < shown.length) cells.push(make("td", { class: "gap", colspan: shown.length - right, "aria-hidden": "true" }));
    return make("tr", { "aria-rowindex": line + 2 }, ...cells);
  }
  function cell(line, row, place) {
    const col = shown[place], look = plan.look(row, col), here = line === cursor.line && place === cursor.col;
    const node = make("td", { class: look.best ? look.kind + " best" : look.kind, tabindex: here ? 0 : -1, "aria-colindex": place + 2, "aria-selected": selected && selected[0] === row && selected[1] === col ? "true" : null });
    node.textContent = plan.cellText(row, col);
    node.line = line;
    node.place = place;
    return node;
  }
  const current = () => [...body.querySelectorAll("td")].find((node) => node.line === cursor.line && node.place === cursor.col);

  function reveal() {
    const top = cursor.line * rowHeight(), headHeight = head.offsetHeight;
    if (top < frame.scrollTop) frame.scrollTop = top;
    else if (top + rowHeight() > frame.scrollTop + frame.clientHeight - headHeight - 16) frame.scrollTop = top + rowHeight() - frame.clientHeight + headHeight + 16;
    const width = columnWidth(), start = cursor.col * width, room = frame.clientWidth - firstWidth();
    if (start < frame.scrollLeft) frame.scrollLeft = start;
    else if (start + width > frame.scrollLeft + room - 16) frame.scrollLeft = start + width - room + 16;
  }
  function go(line, col, focus = true) {
    const step = line >= cursor.line ? 1 : -1;
    line = Math.max(0, Math.min(lines.length - 1, line));
    while (lines[line] && lines[line].row === undefined) line += lines[line + step] ? step : -step;
    if (!lines[line]) return;
    cursor = { line, col: Math.max(0, Math.min(shown.length - 1, col)) };
    reveal();
    drawn = "";
    paint();
    const node = current();
    if (focus && node) node.focus({ preventScroll: true });
  }
  function select(row, col) {
    if (head.firstChild) drawHead();
    selected = row === null ? null : [row, col];
    if (selected) {
      const line = lines.findIndex((entry) => entry.row === row), place = shown.indexOf(col);
      if (line >= 0 && place >= 0) return go(line, place, false);
    }
    drawn = "";
    if (head.firstChild) paint();
  }
  function choose() {
    const entry = lines[cursor.line];
    if (entry && entry.row !== undefined && shown.length) explain(entry.row, shown[cursor.col]);
  }
  frame.addEventListener("scroll", () => requestAnimationFrame(paint), { passive: true });
  addEventListener("resize", () => { drawn = ""; if (head.firstChild && frame.clientWidth) { drawHead(); paint(); } });
  body.addEventListener("click", (event) => {
    const node = event.target.closest("td");
    if (!node || node.line === undefined) return;
    go(node.line, node.place);
    choose();
  });
  body.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(frame.clientHeight / rowHeight()) - 3);
    const steps = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageDown: [page, 0], PageUp: [-page, 0] }[event.key];
    if (event.altKey || event.metaKey) return;
    if (steps) go(cursor.line + steps[0], cursor.col + steps[1]);
    else if (event.key === "Home") go(event.ctrlKey ? 0 : cursor.line, 0);
    else if (event.key === "End") go(event.ctrlKey ? lines.length - 1 : cursor.line, shown.length - 1);
    else if (event.key === "Enter" || event.key === " ") choose();
    else if (event.key === "b" || event.key === "B") {
      const place = shown.indexOf(plan.best[lines[cursor.line].row]);
      if (place >= 0) go(cursor.line, place);
    } else return;
    event.preventDefault();
  });
  find("#filters").addEventListener("input", () => { writeControls(); refresh(); });
  find("#filters").addEventListener("submit", (event) => event.preventDefault());
  find("#clear").addEventListener("click", () => { readControls(new URLSearchParams()); writeControls(); refresh(); });
  return { show(at) { readControls(at); refresh(); }, select, focus: () => { const node = current(); if (node) node.focus({ preventScroll: true }); } };
}
