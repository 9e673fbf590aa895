// Elements, and the pictures of accuracy. Everything is made of text nodes and attributes, never of markup.
function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "line", "circle", "rect", "g", "title"].includes(tag) || attributes.svg;
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (name !== "svg" && value !== false) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const by = (id) => document.getElementById(id);

// The cases that have a quantity of such a name.
function casesWith(pattern) {
  const { values, codes } = COLUMN.quantity, of = values.map((v) => pattern.test(v)), found = new Set();
  for (let row = 0; row < DATA.rows; row++) if (of[codes[row]]) found.add(text("case", row));
  return found;
}

// The document's network and layered ones have quantities of their own, and so tables of their own: in one table a route
// that runs only the others would be a row without a number. Of functions each is a column, with all of its gradients.
function heat() {
  const metric = by("metric").value, dtype = by("accuracy-dtype").value, level = by("accuracy-level").value;
  const [documents, layered] = [/E_total/, /^d?E(\/|$)/].map(casesWith);
  const kind = (row) => verified(row) !== null ? "Functions that were verified" : documents.has(text("case", row)) ? "The document’s network" : layered.has(text("case", row)) ? "Layered networks" : "Other cases";
  const kinds = new Map(["The document’s network", "Layered networks", "Functions that were verified", "Other cases"].map((name) => [name, []])), all = new Map();
  for (const row of filtered("", { dtype, level })) {
    const value = measured(metric, row);
    if (value === null || Number.isNaN(value)) continue;
    // As in the matrix: of lost digits an error in ulps says nothing.
    if (metric !== "share" && !["conforms", "deviates"].includes(text("verdict", row))) continue;
    kinds.get(kind(row)).push([row, value]);
    const who = text("who", row);
    (all.get(who) || all.set(who, []).get(who)).push(value);
  }
  const found = [...kinds].filter(([, values]) => values.length).map(([name, values]) => heatOf(name, values, metric));
  by("shades").replaceChildren(...shades(metric));
  by("heat").replaceChildren(...(found.length ? found : [element("p", {}, "Nothing at this level and dtype has a number to show.")]));
  spread(all);
}

// Up to which number a cell has which shade; what is larger has the darkest. The orange ones begin where a share deviates,
// and where of an error hardly a digit of a 16-bit number is left.
const SHADES = { ulp: [0.25, 0.5, 1, 4, 16, 64, 65536], share: [0.015625, 0.0625, 0.25, 0.5, 0.75, 1, 16] };

function bounds(metric) { return SHADES[metric === "share" ? "share" : "ulp"]; }

function depth(value, metric) {
  if (!(value > 0)) return 0;
  const at = bounds(metric).findIndex((bound) => value <= bound);
  return at < 0 ? 8 : at + 1;
}

function shades(metric) {
  const of = bounds(metric), unit = metric === "share" ? "" : " ulp";
  return [element("span", {}, "0"), ...of.map((bound, i) => element("span", { class: `heat${i + 1}` }, `to ${digits(bound, 5)}${unit}`)), element("span", { class: "heat8" }, "more")];
}

// adapter/route × quantity: the largest or the median; the shade is by its size, the number stands in the cell.
function heatOf(kind, rows, metric) {
  const groups = new Map(), quantities = new Map();
  for (const [row, value] of rows) {
    const who = text("who", row), quantity = verified(row) ?? text("quantity", row);
    quantities.set(quantity, (quantities.get(quantity) || 0) + 1);
    const of = groups.get(who) || groups.set(who, new Map()).get(who);
    (of.get(quantity) || of.set(quantity, []).get(quantity)).push(value);
  }
  // The most frequent ones, in the derivation's order.
  const order = [...quantities.keys()], often = new Set([...order].sort((a, b) => quantities.get(b) - quantities.get(a)).slice(0, 40));
  const names = order.filter((quantity) => often.has(quantity));
  const body = element("tbody");
  for (const [who, of] of groups) {
    if (!names.some((quantity) => of.has(quantity))) continue;
    const line = element("tr", {}, element("th", { scope: "row" }, who));
    for (const quantity of names) {
      const values = of.get(quantity);
      if (!values) { line.append(element("td")); continue; }
      values.sort((a, b) => a - b);
      const value = by("statistic").value === "max" ? values[values.length - 1] : values[values.length >> 1];
      line.append(element("td", { class: `heat${depth(value, metric)}${metric === "share" && value > 1 ? " deviates" : ""}` }, digits(value, 2)));
    }
    body.append(line);
  }
  const head = element("tr", {}, element("th", { scope: "col" }, "adapter/route"), ...names.map((n) => element("th", { scope: "col" }, n)));
  const left = quantities.size - names.length;
  const title = `${kind}: ${by("metric").selectedOptions[0].text}, ${by("statistic").selectedOptions[0].text}, ${by("accuracy-dtype").value}, ${by("accuracy-level").value}` + (left ? `; ${left} rarer quantities are in the table` : "");
  return element("table", { class: "heat" }, element("caption", {}, title), element("thead", {}, head), body);
}

// What stands below the bars: exactly 0 in the middle of its bar, the others where one bar ends and the next begins.
const TICKS = [["0", 12], ["2⁻¹²", 42], ["2⁻⁶", 102], ["1", 162], ["2⁶", 222]];

// For each adapter/route how many measurements lie in each power of four of the metric.
function spread(all) {
  const charts = [];
  for (const [who, values] of all) {
    const counts = new Array(12).fill(0);
    for (const v of values) counts[v > 0 ? Math.min(11, Math.max(1, Math.ceil(Math.log2(v) / 2) + 7)) : 0] += 1;
    const top = Math.max(...counts);
    const bar = (n, i) => element("rect", { x: 4 + i * 20, y: 60 - (56 * n) / top, width: 16, height: (56 * n) / top },
      element("title", {}, `${n} ${i === 0 ? "exactly 0" : i === 11 ? "above 2^6" : `up to 2^${2 * (i - 7)}`}`));
    const label = `${who}: ${counts.map((n, i) => `${n} ${i === 0 ? "at 0" : i === 11 ? "above 2^6" : `to 2^${2 * (i - 7)}`}`).join(", ")}`;
    const axis = [element("line", { x1: 2, y1: 60, x2: 246, y2: 60 }), ...TICKS.map(([tick, x]) => element("text", { svg: true, x, y: 73, "text-anchor": "middle" }, tick))];
    charts.push(element("figure", {}, element("svg", { viewBox: "0 0 248 78", role: "img", "aria-label": label }, ...counts.map(bar), ...axis),
      element("figcaption", {}, `${who}: ${values.length.toLocaleString("en")} measurements, ${top.toLocaleString("en")} in the highest bar`)));
  }
  by("spread").replaceChildren(...charts);
  by("spread-hint").textContent = charts.length ? `How many have which ${by("metric").selectedOptions[0].text}: the first bar is exactly 0, each other one a power of four, the last all above 2⁶.` : "";
}
