"use strict";
// What is shown stands behind the # of the address. Texts of cases become text nodes, never markup.
(() => {
  const { page: size, rows } = JSON.parse(document.getElementById("cases").textContent);
  const form = document.querySelector("form.listing");
  const list = document.getElementById("rows");
  const fields = ["name", "verdict", "from", "to", "sort"];
  const kinds = ["found", "none", "failed"];
  const [KIND, NAME, ML, VERDICT, REPORT, PICTURE, LINES] = [0, 1, 2, 3, 4, 5, 6];

  function asked() {
    return new URLSearchParams(location.hash.slice(1));
  }

  function chosen(query) {
    const name = (query.get("name") || "").toLowerCase();
    const verdict = query.get("verdict") || "";
    const from = query.get("from") ? Number(query.get("from")) : -1;
    const to = query.get("to") ? Number(query.get("to")) : Infinity;
    const bounded = query.get("from") || query.get("to"); // a case that failed has no volume
    const found = rows.filter(
      (row) =>
        row[NAME].toLowerCase().includes(name) &&
        (!verdict || kinds[row[KIND]] === verdict) &&
        (!bounded || (row[KIND] !== 2 && row[ML] >= from && row[ML] <= to)),
    );
    if (query.get("sort") === "least") found.sort((a, b) => a[ML] - b[ML]);
    if (query.get("sort") === "name")
      found.sort((a, b) => a[NAME].localeCompare(b[NAME], "en", { numeric: true }));
    return found;
  }

  function element(tag, text, parent) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  function drawn(row) {
    if (row[KIND] === 2) {
      const section = element("section", "");
      section.className = "failed";
      element("h2", `${row[NAME]}: failed`, section);
      element("p", row[VERDICT], section);
      return section;
    }
    const link = element("a", "");
    link.className = row[KIND] === 0 ? "row found" : "row";
    link.href = row[REPORT];
    const picture = element("img", "", link);
    picture.alt = "";
    picture.loading = "lazy";
    picture.src = row[PICTURE];
    const text = element("div", "", link);
    element("h2", row[VERDICT], text);
    element("b", row[NAME], element("p", "", text));
    for (const line of row[LINES]) element("p", line, text);
    return link;
  }

  function show() {
    const query = asked();
    for (const name of fields) form.elements[name].value = query.get(name) || "";
    const found = chosen(query);
    const pages = Math.max(1, Math.ceil(found.length / size));
    const page = Math.min(pages, Math.max(1, Number(query.get("page")) || 1));
    const first = (page - 1) * size;
    list.replaceChildren(...found.slice(first, first + size).map(drawn));
    const last = Math.min(first + size, found.length);
    form.querySelector("output").textContent = found.length
      ? `${first + 1} to ${last} of ${found.length}`
      : "no such case";
    form.elements.before.disabled = page === 1;
    form.elements.next.disabled = page === pages;
    form.dataset.page = page;
  }

  function ask(page) {
    const query = new URLSearchParams();
    for (const name of fields) if (form.elements[name].value) query.set(name, form.elements[name].value);
    if (page > 1) query.set("page", page);
    history.replaceState(null, "", `#${query}`);
    show();
    if (page !== 1) scrollTo(0, 0);
  }

  form.addEventListener("input", () => ask(1));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.before.addEventListener("click", () => ask(Number(form.dataset.page) - 1));
  form.elements.next.addEventListener("click", () => ask(Number(form.dataset.page) + 1));
  addEventListener("hashchange", show);
  form.hidden = false;
  show();
})();
