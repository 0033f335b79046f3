"use strict";
// The frame of the pages: data, elements, addresses and tables. Text of stores and runs is put into the page as text nodes only.
const longtake = (() => {
  const ROWS = 50; // of a table at a time
  const pages = new Map(), tabs = [], loading = new Map(), arrived = new Map();

  // ---- data: a file calls data(name, text), or an element of the page holds the text
  function data(name, text) {
    arrived.set(name, JSON.parse(text));
  }
  function load(name) {
    if (!loading.has(name)) {
      loading.set(name, new Promise((resolve, reject) => {
        const block = document.getElementById(`data-${name}`);
        if (block) return resolve(JSON.parse(block.textContent));
        const script = document.createElement("script");
        script.onload = () => arrived.has(name) ? resolve(arrived.get(name)) : reject(new Error(`data/${name}.js is damaged`));
        script.onerror = () => {
          loading.delete(name);
          reject(new Error(`data/${name}.js cannot be loaded: the server has ended, or the file is missing`));
        };
        script.src = `data/${name}.js`;
        document.head.append(script);
      }));
    }
    return loading.get(name);
  }

  // ---- elements
  function fill(element, properties, children) {
    for (const [name, value] of Object.entries(properties || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(9).filter((one) => one !== null && one !== undefined && one !== false && one !== ""));
    return element;
  }
  const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
  const svg = (tag, properties, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
  const link = (address, ...children) => h("a", {href: address}, ...children);
  const tag = (text, kind) => h("span", {class: `tag ${kind || ""}`, title: text}, text);
  const facts = (pairs) => h("dl", {class: "facts"}, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value, wide]) => h("div", {class: wide ? "wide" : null}, h("dt", null, name), h("dd", null, value))));
  function command(text) {
    const button = h("button", {type: "button", onclick: async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(shown);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    }}, "Copy");
    const shown = h("pre", {tabindex: "0"}, text);
    return h("div", {class: "command"}, shown, button);
  }
  const shell = (text) => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`;

  // ---- numbers; a missing one is an empty text, never 0
  const missing = (value) => value === null || value === undefined;
  const whole = (value) => missing(value) ? "" : value.toLocaleString("en-US");
  const decimals = (value, digits) => missing(value) ? "" : value.toFixed(digits);
  const error = (value) => missing(value) ? "" : value !== 0 && Math.abs(value) < 0.1 ? value.toPrecision(2) : value.toFixed(2);
  const megabytes = (value) => missing(value) ? "" : value < 1e5 ? `${(value / 1e3).toFixed(1)} kB` : value < 1e9 ? `${(value / 1e6).toFixed(1)} MB` : `${(value / 1e9).toFixed(1)} GB`;
  const clock = (seconds) => missing(seconds) ? "" : `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

  // ---- addresses: #/page/arguments?query
  function here() {
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
    const parts = path.split("/").filter(Boolean);
    return {page: parts[0] || "", parts: parts.slice(1), query: new URLSearchParams(query || "")};
  }
  function address(page, parts, query) {
    const values = [...query].filter(([, value]) => value);
    return `#/${[page, ...parts].join("/")}${values.length ? `?${new URLSearchParams(values)}` : ""}`;
  }

  // ---- tables
  // columns: {title, value(row) for sorting, cell(row), number, wide, text(row) for searching}; the first one names the row.
  // filters: {name, title, options: [[value, label]], keep(row, value)}
  function table({rows, columns, filters = [], order = "", what = "rows", empty, extra}) {
    const at = here(), state = at.query;
    const texts = [];
    const text = (row, place) => texts[place] ??= columns.map((one) => one.text ? one.text(row) : "").join("\n").toLowerCase();
    const body = h("tbody"), status = h("span", {role: "status"});
    const before = h("button", {type: "button", onclick: () => turn(-1)}, "Previous");
    const after = h("button", {type: "button", onclick: () => turn(1)}, "Next");
    const sortable = columns.map((one, place) => one.value ? place : -1).filter((place) => place >= 0);
    const sorted = () => {
      const found = /^(-?)(\d+)$/.exec(state.get("sort") || order);
      return found && sortable.includes(+found[2]) ? {place: +found[2], down: found[1] === "-"} : null;
    };
    const set = (name, value, keepPage) => {
      value ? state.set(name, value) : state.delete(name);
      if (!keepPage) state.delete("page");
      history.replaceState(null, "", address(at.page, at.parts, state));
      draw();
    };
    const turn = (by) => {
      set("page", String((+state.get("page") || 1) + by), true);
      box.scrollTop = 0;
      if (box.getBoundingClientRect().top < 0) box.scrollIntoView();
    };
    const sortBy = (place) => {
      const now = sorted(), down = now?.place === place ? !now.down : Boolean(columns[place].number);
      set("sort", `${down ? "-" : ""}${place}`);
    };
    const heads = columns.map((one, place) => h("th", {scope: "col", class: one.number ? "number" : null},
      one.value ? h("button", {type: "button", onclick: () => sortBy(place)}, one.title) : one.title));
    const search = h("input", {type: "search", placeholder: `Search ${what}`, "aria-label": `Search ${what}`, value: state.get("q") || "",
      oninput: (event) => set("q", event.target.value.trim())});
    const choices = filters.filter((one) => one.options.length > 1).map((one) => {
      const select = h("select", {onchange: () => set(one.name, select.value)}, h("option", {value: ""}, one.all || "all"),
        one.options.map(([value, label]) => h("option", {value}, label)));
      select.value = state.get(one.name) || "";
      if (select.selectedIndex < 0) select.value = "";
      return h("label", null, one.title, select);
    });
    // On a phone they are folded up; the style shows them always where there is room.
    const narrowed = h("details", {class: "filters", open: matchMedia("(min-width: 761px)").matches || filters.some((one) => state.get(one.name))}, h("summary", null, "Filters"), choices);
    const by = h("select", {onchange: () => set("sort", by.value)}, sortable.flatMap((place) => [false, true].map((down) =>
      h("option", {value: `${down ? "-" : ""}${place}`}, `${columns[place].title} ${down ? "\u2193" : "\u2191"}`))));
    const box = h("div", {class: "table", tabindex: "0", role: "region", "aria-label": what},
      h("table", null, h("thead", null, h("tr", null, heads)), body));

    function chosen() {
      const words = (state.get("q") || "").toLowerCase().split(/\s+/).filter(Boolean);
      const kept = filters.filter((one) => state.get(one.name));
      let found = rows.map((row, place) => place);
      if (kept.length) found = found.filter((place) => kept.every((one) => one.keep(rows[place], state.get(one.name))));
      if (words.length) found = found.filter((place) => words.every((word) => text(rows[place], place).includes(word)));
      const how = sorted();
      if (how) {
        const column = columns[how.place], values = new Map(found.map((place) => [place, column.value(rows[place])]));
        const way = how.down ? -1 : 1;
        const none = (value) => missing(value) || value === "" || Number.isNaN(value);
        found.sort((one, other) => {
          const a = values.get(one), b = values.get(other);
          if (none(a) || none(b)) return none(a) - none(b) || one - other; // what is missing is last in both directions
          return (typeof a === "string" ? collator.compare(a, b) : a - b) * way || one - other;
        });
      }
      return found;
    }
    function draw() {
      const found = chosen(), last = Math.max(1, Math.ceil(found.length / ROWS));
      const page = Math.min(Math.max(1, +state.get("page") || 1), last), first = (page - 1) * ROWS;
      const shown = found.slice(first, first + ROWS);
      body.replaceChildren(...shown.map((place) => h("tr", null, columns.map((one, number) =>
        h(number === (columns.name ?? 0) ? "th" : "td", {scope: number === (columns.name ?? 0) ? "row" : null, class: [one.number && "number", one.wide && "wide"].filter(Boolean).join(" ") || null,
          "data-name": one.title || null}, one.cell(rows[place]))))));
      if (!shown.length) body.append(h("tr", null, h("td", {class: "none", colspan: columns.length}, rows.length ? `No ${what} match.` : empty || `No ${what}.`)));
      status.textContent = found.length ? `${whole(first + 1)}\u2013${whole(first + shown.length)} of ${whole(found.length)}${found.length < rows.length ? ` (${whole(rows.length)} in all)` : ""}` : "0";
      before.disabled = page <= 1;
      after.disabled = page >= last;
      before.hidden = after.hidden = last === 1;
      const how = sorted();
      heads.forEach((head, place) => columns[place].value && head.setAttribute("aria-sort", how?.place === place ? (how.down ? "descending" : "ascending") : "none"));
      by.value = how ? `${how.down ? "-" : ""}${how.place}` : "";
    }
    draw();
    const controls = rows.length > 5 || [...state].length ? h("div", {class: "controls"}, search, h("label", {class: "by"}, "Sort by", by), choices.length ? narrowed : null, extra) : extra && h("div", {class: "controls"}, extra);
    return h("div", null, controls, box, h("div", {class: "pager"}, status, before, after));
  }
  const collator = new Intl.Collator("en", {numeric: true, sensitivity: "base"});
  // A table of few rows, without controls.
  function plain(titles, rows) {
    const none = (value) => missing(value) || value === "" || value?.length === 0;
    const used = titles.map((one, place) => !place || rows.some((row) => !none(row[place])));
    const cells = titles.filter((one, place) => used[place]).map((one) => typeof one === "string" ? {title: one} : one);
    rows = rows.map((row) => row.filter((one, place) => used[place]));
    return h("div", {class: "table plain", tabindex: "0", role: "region", "aria-label": "table"}, h("table", null,
      h("thead", null, h("tr", null, cells.map((one) => h("th", {scope: "col", class: one.number ? "number" : null}, one.title)))),
      h("tbody", null, rows.map((row) => h("tr", null, row.map((value, place) => h(place ? "td" : "th", {scope: place ? null : "row",
        class: [cells[place].number && "number", cells[place].wide && "wide"].filter(Boolean).join(" ") || null, "data-name": cells[place].title}, value)))))));
  }
  const different = (rows, of) => [...new Set(rows.flatMap(of))].filter(Boolean).sort(collator.compare).map((one) => [one, one]);

  // ---- pages
  function page(name, draw) { pages.set(name, draw); }
  function tab(name, title, count, of) { tabs.push([name, title, count, of || []]); }
  let turns = 0;
  async function show(event) {
    const turn = ++turns, main = document.getElementById("main");
    const waiting = setTimeout(() => main.replaceChildren(h("p", {class: "quiet"}, "Loading ...")), 200);
    let content, title = "";
    try {
      const index = await load("index");
      // Without a page in the address, the first one that has something to show.
      if (!here().page) history.replaceState(null, "", `#/${(tabs.find(([, , count]) => index.counts[count]) || tabs[0])[0]}`);
      const at = here();
      frame(index, at.page);
      const draw = pages.get(at.page);
      if (!draw) throw new Error(`there is no page ${at.page}`);
      ({title, content} = await draw(at.parts, at.query, index));
    } catch (problem) {
      title = "Not shown";
      content = [h("h1", null, "Not shown"), h("p", {class: "fault"}, problem.message), h("p", null, link("#/", "To the first page"))];
    }
    clearTimeout(waiting);
    if (turn !== turns) return;
    document.title = `${title} \u00b7 Longtake`;
    main.replaceChildren(...[content].flat(9).filter(Boolean));
    if (event) { main.focus({preventScroll: true}); scrollTo(0, 0); }
  }
  function frame(index, current) {
    document.querySelector("nav").replaceChildren(...tabs.filter(([name, , count, of]) => index.counts[count] || name === current || of.includes(current)).map(([name, title, count, of]) =>
      h("a", {href: `#/${name}`, "aria-current": current === name || of.includes(current) ? "page" : null}, title,
        count && h("span", {class: "count"}, whole(index.counts[count])))));
    document.querySelector("footer").textContent = `${index.title} \u00b7 read ${index.made}`;
  }
  addEventListener("hashchange", show);
  addEventListener("DOMContentLoaded", () => show());
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName)) {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    }
  });
  return {data, load, h, svg, link, tag, facts, command, shell, whole, decimals, error, megabytes, clock, missing, table, plain, different, page, tab, collator};
})();
