// Elements, and the pictures of accuracy. Everything is made of text nodes and attributes, never of markup.
function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "line", "circle", "rect", "g", "title"].includes(tag) || attributes.svg;
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (name !== "svg" && value !== false) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const by = (id) => document.getElementById(id);

// adapter/route × quantity: the largest or the median; the shade is the logarithm, the number stands in the cell.
function heat() {
  const metric = by("metric").value, dtype = by("accuracy-dtype").value, level = by("accuracy-level").value;
  const groups = new Map(), quantities = new Map();
  for (const row of filtered("", { dtype, level })) {
    const value = number(metric, row);
    if (value === null || Number.isNaN(value)) continue;
    const who = text("who", row), quantity = text("quantity", row);
    quantities.set(quantity, (quantities.get(quantity) || 0) + 1);
    const of = groups.get(who) || groups.set(who, new Map()).get(who);
    (of.get(quantity) || of.set(quantity, []).get(quantity)).push(value);
  }
  const names = [...quantities.keys()].sort((a, b) => quantities.get(b) - quantities.get(a)).slice(0, 40);
  if (!names.length) return by("heat").replaceChildren(element("p", {}, "Nothing was judged at this level and dtype."));
  const body = element("tbody");
  for (const [who, of] of groups) {
    const line = element("tr", {}, element("th", { scope: "row" }, who));
    for (const quantity of names) {
      const values = of.get(quantity);
      if (!values) { line.append(element("td")); continue; }
      values.sort((a, b) => a - b);
      const value = by("statistic").value === "max" ? values[values.length - 1] : values[values.length >> 1];
      const depth = value > 0 ? Math.min(8, Math.max(1, Math.round(Math.log2(value) + (metric === "share" ? 8 : 3)))) : 0;
      line.append(element("td", { class: `heat${depth}${metric === "share" && value > 1 ? " deviates" : ""}` }, digits(value, 2)));
    }
    body.append(line);
  }
  const head = element("tr", {}, element("th", { scope: "col" }, "adapter/route"), ...names.map((n) => element("th", { scope: "col" }, n)));
  const left = quantities.size - names.length;
  const title = `${by("metric").selectedOptions[0].text}, ${by("statistic").selectedOptions[0].text}, ${dtype}, ${level}` + (left ? `; ${left} rarer quantities are in the table` : "");
  by("heat").replaceChildren(element("table", { class: "heat" }, element("caption", {}, title), element("thead", {}, head), body));
  spread(groups);
}

// For each adapter/route how many measurements lie in each power of four of the metric.
function spread(groups) {
  const charts = [];
  for (const [who, of] of groups) {
    const counts = new Array(12).fill(0);
    for (const values of of.values()) for (const v of values) counts[v > 0 ? Math.min(11, Math.max(1, Math.ceil(Math.log2(v) / 2) + 7)) : 0] += 1;
    const top = Math.max(...counts);
    const bar = (n, i) => element("rect", { x: 4 + i * 20, y: 60 - (56 * n) / top, width: 16, height: (56 * n) / top },
      element("title", {}, `${n} ${i === 0 ? "exactly 0" : i === 11 ? "above 2^6" : `up to 2^${2 * (i - 7)}`}`));
    const label = `${who}: ${counts.map((n, i) => `${n} ${i === 0 ? "at 0" : `to 2^${2 * (i - 7)}`}`).join(", ")}`;
    charts.push(element("figure", {}, element("svg", { viewBox: "0 0 248 62", role: "img", "aria-label": label }, ...counts.map(bar)),
      element("figcaption", {}, `${who}: exactly 0; up to 2⁻¹², 2⁻¹⁰ … 2⁶; above`)));
  }
  by("spread").replaceChildren(...charts);
}
