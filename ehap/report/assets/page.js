// Sorting, filters, themes, provenance, and the charts. All that is said here is in the page without it, too.
const $ = window.jQuery;
const json = (id) => JSON.parse(document.getElementById(id).textContent);
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const records = json("data-records");
const specs = json("data-specs");
const filters = document.querySelector(".filters");
const headline = document.getElementById("headline");
const ROWS = 40;

// Tables: sorted by a click or Enter on a heading; rows that the filters leave out are not shown.
const chosen = () => Object.fromEntries(new FormData(filters));
const known = new Set(records.map(({ dataset, model }) => `${dataset} ${model}`));
function fits(element, wanted) {
  const { dataset, model, method, group } = element.dataset;
  const own = { dataset, model, method: group ?? method }; // draws of images are one method
  if (wanted.dataset && !dataset && model && !known.has(`${wanted.dataset} ${model}`)) return false;
  return Object.keys(own).every((name) => !wanted[name] || !own[name] || own[name] === wanted[name]);
}
// A picture of methods is not shown where the filter leaves none of them.
function empty(figure, { method }) {
  const rows = Object.values(specs[figure.dataset.chart].datasets).flat().filter((row) => row.group);
  return method && rows.length > 0 && rows.every((row) => row.group !== method);
}
$.fn.dataTable.ext.search.push((settings, texts, index) => fits(settings.aoData[index].nTr, chosen()));
const tables = [];
function prepare(table) {
  const long = table.tBodies[0].rows.length > ROWS;
  const options = {
    order: [],
    autoWidth: false,
    paging: long,
    pageLength: ROWS,
    search: { search: chosen().search ?? "" },
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: long ? "paging" : null },
    language: { emptyTable: "nothing yet", zeroRecords: "nothing that the filters allow" },
  };
  tables.push($(table).DataTable(options));
}

// Charts.
const look = json("data-look");
const views = new Map();
const ERRORS = 1;
async function tell({ view }) {
  const { method } = chosen();
  const { method: one, device } = headline?.selectedOptions[0]?.dataset ?? {};
  const said = Object.entries({ method, chosen: one === "dense" ? "" : one ?? "", chosen_device: device ?? "" })
    .filter(([name, value]) => name in view.getState().signals && view.signal(name) !== value);
  if (!said.length) return;
  view.logLevel(ERRORS); // a chart may well be empty under a filter
  said.forEach(([name, value]) => view.signal(name, value));
  await view.runAsync();
}
async function draw(figure) {
  const place = figure.querySelector(".chart");
  const spec = specs[figure.dataset.chart];
  views.get(figure)?.finalize();
  if (spec.facet) spec.spec.width = Math.max(160, place.clientWidth - 24);
  const options = { actions: false, renderer: "svg", config: look, tooltip: { theme: "custom" } };
  const result = await window.vegaEmbed(place, spec, options);
  views.set(figure, result);
  figure.dataset.drawn = "";
  await tell(result);
}

// One thing after the other, so that the page is there at once and answers meanwhile.
const queue = [];
let working = false;
async function work() {
  if (working) return;
  working = true;
  while (queue.length) {
    const next = queue.shift();
    if (next.tagName === "TABLE") prepare(next);
    else if (!next.hidden) await draw(next);
    await new Promise((ready) => { setTimeout(ready); });
  }
  working = false;
  document.documentElement.dataset.drawn = "";
}

// The picture of the network on the first screen is taken from its section, and goes back when another is chosen.
const first = document.getElementById("first");
function show(index) { // -1: none
  if (!headline) return;
  const option = headline.options[index];
  headline.selectedIndex = index;
  all("[data-headline]").forEach((part) => { part.hidden = part.dataset.headline !== (option?.value ?? "none"); });
  const { dataset, model } = option?.dataset ?? {};
  const wanted = document.querySelector(`figure[data-chart="size-${dataset}-${model}"]`);
  all("figure", first).forEach((figure) => { if (figure !== wanted) figure.home.append(figure); });
  if (wanted && wanted.parentElement !== first) {
    wanted.home ??= wanted.parentElement;
    first.append(wanted);
  }
  all(".pictures").forEach((part) => { part.hidden = !part.children.length; });
  views.forEach(tell);
}
headline?.addEventListener("change", () => show(headline.selectedIndex));

function filter() {
  const wanted = chosen();
  tables.forEach((table) => table.search(wanted.search ?? "").draw());
  all("figure").forEach((figure) => { figure.hidden = !fits(figure, wanted) || empty(figure, wanted); });
  if (headline) {
    const options = [...headline.options];
    options.forEach((option) => { option.hidden = !fits(option, wanted); });
    if (headline.selectedOptions[0]?.hidden ?? true) show(options.findIndex((option) => !option.hidden));
  }
  views.forEach(tell);
  queue.push(...all("figure:not([hidden]):not([data-drawn])").filter((figure) => !queue.includes(figure)));
  work();
}
for (const kind of ["input", "change"]) filters.addEventListener(kind, filter);

// Where a number comes from.
const dialog = document.getElementById("provenance");
function element(name, text, ...inside) {
  const made = document.createElement(name);
  if (text !== null && text !== undefined) made.textContent = String(text);
  made.append(...inside);
  return made;
}
function list(pairs) {
  return element("dl", null, ...pairs.flatMap(([term, text]) => [element("dt", term), element("dd", text)]));
}
const short = (value) => (typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(7)) : value);
function described(record) {
  const cell = ["stage", "dataset", "model", "method", "scheme", "curvature", "seed"].filter((key) => record[key] !== undefined);
  const versions = Object.entries(record.versions ?? {}).map(([name, version]) => `${name} ${version}`).join(", ");
  const values = Object.entries(record.values).map(([name, { value, unit }]) => [name, `${short(value)} ${unit}`]);
  const settings = Object.entries(record.settings ?? {}).map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : value]);
  const seconds = record.duration_s === undefined ? undefined : `${record.duration_s} s`;
  const known = [...cell.map((key) => [key, record[key]]), ...Object.entries(record.said ?? {}), ["device", record.device],
    ["instruction sets", record.instructions || undefined],
    ["versions", versions || undefined], ["code digest", record.code], ["duration", seconds]].filter(([, text]) => text !== undefined);
  const folded = element("details", null, element("summary", `${settings.length} settings`), list(settings));
  folded.open = settings.length > 0 && settings.length < 30;
  return [element("h3", record.path), ...[values, known].filter((pairs) => pairs.length).map(list), ...(settings.length ? [folded] : [])];
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("button.of");
  if (!button) return;
  const numbers = button.dataset.records.split(" ").map(Number);
  const several = numbers.length > 1 ? [element("p", `From ${numbers.length} sources:`)] : [];
  dialog.querySelector(".content").replaceChildren(...several, ...numbers.flatMap((number) => described(records[number])));
  dialog.showModal();
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

// Themes: the system's, light, dark.
const theme = document.getElementById("theme");
const THEMES = ["", "light", "dark"];
function say() { theme.textContent = `theme: ${document.documentElement.dataset.theme || "auto"}`; }
theme.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || "") + 1) % THEMES.length];
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("theme", next); } catch { /* kept for this visit only */ }
  say();
});
say();

// On paper nothing is folded or turned over.
window.addEventListener("beforeprint", () => {
  all("details").forEach((part) => { part.dataset.was = part.open; part.open = true; });
  tables.forEach((table) => table.page.len(-1).draw());
});
window.addEventListener("afterprint", () => {
  all("details").forEach((part) => { part.open = part.dataset.was === "true"; });
  tables.forEach((table) => table.page.len(ROWS).draw());
});

// Where the reader is, in the contents.
const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-10% 0px -80% 0px" });
all("main > section").forEach((section) => seen.observe(section));

if (window.matchMedia("(max-width: 60rem)").matches) document.querySelector(".menu").open = false;
let width = window.innerWidth;
let waiting;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(() => all("figure[data-drawn]:not([hidden])").filter((figure) => specs[figure.dataset.chart].facet).forEach(draw), 200);
});

show(0);
all("button.of").forEach((button) => { button.ariaHasPopup = "dialog"; });
queue.push(...all("#first figure"), ...all(".scroll table"), ...all("figure").filter((figure) => !first.contains(figure)));
work();
