// Links: the fragment names a section and what was chosen there, as #measurements?verdict=lost&sort=-share. What is not
// said is as the page opens. A row's own link is #row=….
const CHOICES = {
  verdicts: {},
  accuracy: { show: "metric", by: "statistic", dtype: "accuracy-dtype", level: "accuracy-level" },
  case: { case: "case-name", dtype: "case-dtype", gradients: "case-who" },
  measurements: { search: "search", who: "f-who", dtype: "f-dtype", level: "f-level", verdict: "f-verdict", run: "f-run" },
};
// What every control holds when the page opens; a link need not say it.
const USUAL = {};

function remember() {
  for (const names of Object.values(CHOICES)) for (const id of Object.values(names)) USUAL[id] = by(id).value;
}

function linkTo(section, chosen) {
  const said = Object.entries(chosen).filter(([, value]) => value !== "" && value !== null).map((pair) => pair.map(encodeURIComponent).join("="));
  return `#${section}${said.length ? "?" + said.join("&") : ""}`;
}

// The link to a section as it is now, in its heading and in the address.
function keep(section, further = {}) {
  const chosen = Object.entries(CHOICES[section]).filter(([, id]) => by(id).value !== USUAL[id]).map(([name, id]) => [name, by(id).value]);
  const link = linkTo(section, { ...Object.fromEntries(chosen), ...further });
  by(`link-${section}`).setAttribute("href", link);
  history.replaceState(null, "", link);
}

// What a fragment says: the section and what is chosen in it; null for one that says nothing of that kind.
function asked(hash) {
  const [, section, query] = /^#([a-z]+)\?(.*)$/s.exec(hash) || [];
  if (!Object.hasOwn(CHOICES, section ?? "")) return null;
  try {
    return { section, chosen: new Map(query.split("&").map((part) => part.split("=").map(decodeURIComponent))) };
  } catch {
    return null;
  }
}

// Sets a section's controls as a link asks; what it asks for and this report lacks is returned.
function set({ section, chosen }) {
  const lacking = [];
  for (const [name, id] of Object.entries(CHOICES[section])) {
    const wanted = chosen.get(name) ?? USUAL[id], control = by(id);
    control.value = wanted;
    if (control.value === wanted) continue;
    control.value = USUAL[id];
    lacking.push(`${name} ${wanted}`);
  }
  return lacking;
}
