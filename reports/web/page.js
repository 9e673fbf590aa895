// The page: filters, table, deviations, deep links, copying, colours.
const SHOWN = ["case", "who", "dtype", "level", "quantity", "verdict", "error_ulp", "max_ulp", "share", "value", "truth"];
const every = () => ["run", "case", "who", "dtype", "level", "quantity", "operator", ...Object.keys(COLUMN).filter((name) => !TEXTS.has(name)), "truth", "accepted_form", "worst_index", "formula", "execution", "accuracy", "verdict", "cause", "reason"];
const HEADING = { who: "adapter/route", error_ulp: "error (ulp)", max_ulp: "max ulp" };
const PAGE = 50;
let EVERY = [], current = [], first = 0, order = null, descending = false;

function state(row) { return isKnown(row) ? "known" : text("verdict", row).replace(/ /g, "-"); }

function choose(from = 0) {
  current = filtered(by("search").value, Object.fromEntries(["who", "dtype", "level", "verdict", "run"].map((n) => [n, by(`f-${n}`).value])));
  if (order) current = sorted(current, order, descending);
  first = from < current.length ? from : 0;
  show();
}

// The choice and the order of the table, and where in it one is.
function keepTable() {
  keep("measurements", { sort: order && (descending ? "-" : "") + order, from: first ? first + 1 : null });
}

function chosen() { choose(); keepTable(); }

function show() {
  const body = by("rows").tBodies[0], slice = current.slice(first, first + PAGE);
  body.replaceChildren(...slice.map((row) => element("tr", { "data-row": row }, ...SHOWN.map((name) => element("td", { "data-label": HEADING[name] || name, class: name === "verdict" ? state(row) : TEXTS.has(name) && name !== "truth" ? "" : "n" },
    name === "verdict" ? element("a", { href: rowLink(row), "aria-label": `${text("verdict", row)}: the whole row` }, text("verdict", row)) : shown(name, row))))));
  if (!slice.length) body.append(element("tr", {}, element("td", { colspan: SHOWN.length }, "No measurement is as asked for above.")));
  by("count").textContent = `${current.length.toLocaleString("en")} of ${DATA.rows.toLocaleString("en")} measurements`;
  by("where").textContent = current.length ? `${first + 1} to ${first + slice.length}` : "none";
  by("previous").disabled = first === 0;
  by("next").disabled = first + PAGE >= current.length;
}

function heads() {
  by("rows").tHead.replaceChildren(element("tr", {}, ...SHOWN.map((name) => {
    const button = element("button", { type: "button", "data-sort": name }, HEADING[name] || name);
    button.addEventListener("click", () => {
      descending = order === name ? !descending : !TEXTS.has(name);
      order = name;
      arrows();
      chosen();
    });
    return element("th", { scope: "col" }, button);
  })));
}

function arrows() {
  for (const button of by("rows").tHead.querySelectorAll("button")) {
    button.parentElement.removeAttribute("aria-sort");
    if (button.dataset.sort === order) button.parentElement.setAttribute("aria-sort", descending ? "descending" : "ascending");
  }
}

// Everything about one row, its equation and the command that reproduces it.
function detail(row) {
  const of = DATA.cases[text("case", row)], equation = of && DATA.derivations[of.derivation].equations.find((e) => e.name === text("quantity", row));
  const list = element("dl");
  const add = (name, ...value) => list.append(element("div", {}, element("dt", {}, name), element("dd", {}, ...value)));
  if (equation) add("equation", element("code", {}, `${equation.symbol} = ${equation.formula}`));
  for (const name of EVERY) if (cellText(name, row) !== "") add(HEADING[name] || name, cellText(name, row));
  const known = isKnown(row) && DATA.known[text("reason", row).slice(6).split(";")[0]];
  if (known) {
    add("known deviation", known.reason);
    add("upstream", /^https:\/\//.test(known.upstream) ? element("a", { href: known.upstream, rel: "noreferrer" }, known.upstream) : known.upstream);
  }
  if (of && of.at[text("dtype", row)]) add("all of it", element("a", { href: linkTo("case", { case: text("case", row), dtype: text("dtype", row) }) }, "the case, equation by equation"));
  if (command(row)) add("reproduce", element("code", {}, command(row)));
  return element("article", { class: state(row) }, element("h3", {}, element("a", { href: rowLink(row) }, `${text("verdict", row)}: ${text("who", row)} ${text("dtype", row)} ${text("case", row)} ${text("quantity", row)}`)), list);
}

function deviations() {
  const all = sorted(filtered("", { verdict: "deviates" }), "share", true);
  const target = by("deviation-list"), groups = new Map([["", all.filter((r) => !isKnown(r))]]);
  for (const row of all.filter(isKnown)) {
    const id = text("reason", row).slice(6).split(";")[0];
    (groups.get(id) || groups.set(id, []).get(id)).push(row);
  }
  if (!all.length) target.append(element("p", {}, DATA.judged ? "Nothing deviates." : "Nothing was judged, so that nothing can deviate."));
  for (const [id, rows] of groups) {
    if (!rows.length) continue;
    let there = 0;
    const box = element("details", {}, element("summary", {}, id ? `Known deviation ${id}: ${rows.length}` : `Not known: ${rows.length}`));
    const more = element("button", { type: "button" }, "More");
    const grow = () => {
      more.before(...rows.slice(there, there + 10).map(detail));
      there += 10;
      more.hidden = there >= rows.length;
    };
    more.addEventListener("click", grow);
    box.append(more);
    box.addEventListener("toggle", () => { if (box.open && !there) grow(); });
    box.open = !id;
    target.append(box);
  }
}

function behind(button) {
  const { run, who, dtype } = button.dataset, rows = filtered("", { run, who, dtype }), counts = new Map();
  for (const other of document.querySelectorAll(".cell")) other.setAttribute("aria-expanded", String(other === button));
  for (const row of rows) { const key = `${text("level", row) || "not judged"}: ${isKnown(row) ? "known deviation" : text("verdict", row)}`; counts.set(key, (counts.get(key) || 0) + 1); }
  const all = element("a", { href: linkTo("measurements", { who, dtype, run }) }, `All ${rows.length.toLocaleString("en")} in the table`);
  const worst = sorted(rows, "share", true).slice(0, 3);
  by("behind").replaceChildren(element("h3", {}, `Behind ${who} in ${dtype}`), element("p", {}, [...counts].map(([k, n]) => `${k} ${n}`).join(", ")), element("p", {}, all), element("h4", {}, "The largest shares"), ...worst.map(detail));
  by("behind").hidden = false;
  keep("verdicts", { run, who, dtype });
}

async function copy(make, what) {
  const content = make(current, what === "CSV" ? EVERY : SHOWN);
  try {
    await navigator.clipboard.writeText(content);
  } catch {
    const area = element("textarea", { "aria-hidden": "true" });
    area.value = content;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  by("copied").textContent = `${current.length.toLocaleString("en")} rows copied as ${what}`;
}

function follow() {
  const link = asked(location.hash);
  if (link) followed(link);
  if (!location.hash.startsWith("#row=")) return;
  const row = rowOf(location.hash);
  by("row").replaceChildren(row < 0 ? element("p", {}, "This link is to a measurement that is not in this report.") : detail(row));
  by("row").scrollIntoView({ block: "center" });
  by("row").focus({ preventScroll: true });
}

// Shows a section as a link asks for it.
function followed(link) {
  const { section, chosen } = link, lacking = set(link);
  if (section === "accuracy") heat();
  if (section === "case") showCase();
  if (section === "measurements") {
    const sort = chosen.get("sort") ?? "", name = sort.replace(/^-/, "");
    order = SHOWN.includes(name) ? name : null;
    descending = sort.startsWith("-");
    arrows();
    choose(Math.max(0, Math.floor((Number(chosen.get("from")) || 1) - 1)));
  }
  if (section === "verdicts") {
    const button = [...document.querySelectorAll(".cell")].find((cell) => ["run", "who", "dtype"].every((name) => cell.dataset[name] === (chosen.get(name) ?? "")));
    if (button) behind(button); else lacking.push([...chosen.values()].join(" "));
  }
  by("astray").textContent = lacking.length ? `This link asks for what is not in this report: ${lacking.join(", ")}.` : "";
  by(lacking.length ? "astray" : section === "verdicts" ? "behind" : section).scrollIntoView();
}

// Every case, by the folder that its name begins with, as the cases come.
function cases() {
  const folders = new Map();
  for (const name of COLUMN.case.values) {
    const folder = name.slice(0, Math.max(0, name.lastIndexOf("/"))) || "others";
    (folders.get(folder) || folders.set(folder, []).get(folder)).push(element("option", {}, name));
  }
  return [...folders].map(([folder, names]) => element("optgroup", { label: `${folder} (${names.length})` }, ...names));
}

function start() {
  EVERY = every();
  for (const name of ["who", "dtype", "level", "verdict", "run"]) by(`f-${name}`).append(...COLUMN[name].values.filter(Boolean).map((v) => element("option", {}, v)));
  by("f-run-label").hidden = COLUMN.run.values.length < 2;
  by("case-who").append(element("option", { value: "" }, "the truth"), ...COLUMN.who.values.map((v) => element("option", {}, v)));
  by("case-name").append(...cases());
  by("case-name").value = COLUMN.case.values.find((name) => !name.startsWith("program/")) ?? COLUMN.case.values[0];
  remember(); heads(); choose(); heat(); showCase(); deviations(); follow();
  let waiting = 0;
  by("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(chosen, 120); });
  by("filters").addEventListener("change", chosen);
  by("filters").addEventListener("reset", () => setTimeout(chosen));
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
  by("accuracy-controls").addEventListener("change", () => { heat(); keep("accuracy"); });
  by("case-controls").addEventListener("change", () => { showCase(); keep("case"); });
  NARROW.addEventListener("change", showCase);
  by("previous").addEventListener("click", () => { first = Math.max(0, first - PAGE); show(); keepTable(); });
  by("next").addEventListener("click", () => { first += PAGE; show(); keepTable(); });
  by("copy-csv").addEventListener("click", () => copy(csv, "CSV"));
  by("copy-md").addEventListener("click", () => copy(markdown, "Markdown"));
  by("scheme").addEventListener("change", (event) => { if (event.target.value) document.documentElement.dataset.scheme = event.target.value; else delete document.documentElement.dataset.scheme; });
  for (const button of document.querySelectorAll(".cell")) button.addEventListener("click", () => behind(button));
  window.addEventListener("hashchange", follow);
  requestAnimationFrame(() => setTimeout(() => { document.documentElement.dataset.ready = String(Math.round(performance.now())); }));
}

unpack(by("data")).then(start, (error) => {
  document.querySelector("header").append(element("p", { class: "deviates" }, `The measurements cannot be unpacked by this browser (${error.message}); expected one of 2023 or newer. The tables beside this page hold them too.`));
});
