"use strict";
// Stores and their videos.
(() => {
  const {load, h, link, tag, facts, command, shell, whole, decimals, megabytes, clock, missing, table, plain, different, page, tab} = longtake;
  const FAILED = -1, MISSING = -2;
  tab("stores", "Stores", "stores", ["store"]);
  tab("videos", "Videos", "videos", ["video", "find"]);

  // A video is a row of a piece of the table of its store; its values are read from the columns when they are shown.
  class Video {
    constructor(piece, at, store) { this.piece = piece; this.at = at; this.store = store; }
    get id() { return this.piece.ids[this.at]; }
    get row() { return this.piece.first + this.at; }
    get address() { return `#/video/${this.piece.store}/${this.row}`; }
    get category() { return this.piece.category[0][this.piece.category[1][this.at]]; }
    get split() { return this.piece.split[0][this.piece.split[1][this.at]]; }
    get seconds() { return this.piece.seconds[this.at]; }
    get source() { return this.piece.source[this.at]; }
    code(stream) { return this.piece.streams[stream][this.at]; }
    score(name) { return this.piece.scores.find(([one]) => one === name)?.[1][this.at]; }
    get total() { const first = this.piece.scores.find(([, values]) => !missing(values[this.at])); return first ? first[1][this.at] : null; }
    get groups() { return this.piece.groups.map(([name, known, codes]) => [name, known[codes[this.at]]]).filter(([, value]) => value); }
    get failures() { return this.piece.failures.filter(([row]) => row === this.at); }
    get lacks() { return this.store.streams.filter((one, stream) => this.code(stream) < 0); }
    get failed() { return this.store.streams.some((one, stream) => this.code(stream) === FAILED); }
  }
  const perStream = (store) => store.streams.map((one) => one.backbone).some((one, place, all) => all.indexOf(one) !== place)
    ? store.streams.map((one) => one.name) : store.streams.map((one) => one.backbone);

  async function videosOf(stores, numbers) {
    const pieces = (await Promise.all(numbers.map((one) => load(`videos-${one}`)))).flat();
    return pieces.flatMap((piece) => piece.ids.map((id, at) => new Video(piece, at, stores[piece.store])));
  }
  const blocksOf = (store) => store.blocks.length ? Array.from({length: store.blocks[1] - store.blocks[0] + 1}, (one, at) => store.blocks[0] + at) : [];
  async function videosOfStore(stores, number) {
    return (await videosOf(stores, blocksOf(stores[number]))).filter((one) => one.piece.store === number);
  }
  longtake.findVideo = async (dataset, id) => {
    const stores = await load("stores");
    const numbers = new Set(stores.filter((one) => dataset.split("+").includes(one.dataset)).flatMap(blocksOf));
    return (await videosOf(stores, [...numbers])).find((one) => one.id === id && dataset.split("+").includes(one.store.dataset));
  };

  const random = (streams) => streams.some((one) => one.random);
  page("stores", async (parts, query, index) => {
    const stores = (await load("stores")).map((one, number) => ({...one, number}));
    const unreadable = stores.filter((one) => one.fault).length;
    const columns = [
      {title: "Store", value: (one) => one.name, text: (one) => `${one.name} ${one.title || ""}`, cell: (one) => one.fault ? one.name : link(`#/store/${one.number}`, one.name)},
      {title: "Dataset", value: (one) => one.dataset, text: (one) => one.dataset, wide: true,
        cell: (one) => one.fault ? h("span", {class: "fault"}, `cannot be read: ${one.fault}`) : one.title || one.dataset},
      {title: "Features", text: (one) => one.streams.map((s) => s.backbone).join(" "), wide: true,
        cell: (one) => one.fault ? "" : one.streams.length ? one.streams.map((s) => tag(`${s.backbone}${s.random ? ", random weights" : ""}`, s.random ? "warn" : "")) : h("span", {class: "quiet"}, "none")},
      {title: "Videos", number: true, value: (one) => one.fault ? null : one.videos, cell: (one) => one.fault ? "" : whole(one.videos)},
      {title: "Lack features", number: true, value: (one) => one.fault ? null : one.lacking,
        cell: (one) => one.fault ? "" : one.lacking ? link(`#/store/${one.number}?state=lacks`, whole(one.lacking)) : "0"},
      {title: "Clips", number: true, value: (one) => one.fault ? null : one.streams.reduce((sum, s) => sum + s.clips, 0), cell: (one) => one.fault ? "" : whole(one.streams.reduce((sum, s) => sum + s.clips, 0))},
      {title: "Size", number: true, value: (one) => one.bytes, cell: (one) => megabytes(one.bytes)},
      {title: "Written", value: (one) => one.created, number: true, cell: (one) => one.created.slice(0, 10)},
    ];
    const filters = [
      {name: "dataset", title: "Dataset", options: different(stores, (one) => one.dataset), keep: (one, value) => one.dataset === value},
      {name: "features", title: "Features", options: different(stores, (one) => one.streams.map((s) => s.backbone)), keep: (one, value) => one.streams.some((s) => s.backbone === value)},
      {name: "state", title: "State", options: [["whole", "no video lacks features"], ["lacks", "videos lack features"], ["random", "random weights"], ["fault", "cannot be read"]],
        keep: (one, value) => value === "fault" ? one.fault : !one.fault && (value === "random" ? random(one.streams) : value === "lacks" ? one.lacking > 0 : one.lacking === 0)},
    ];
    return {title: "Stores", content: [h("h1", null, "Stores"),
      h("p", {class: "lead"}, `${whole(stores.length - unreadable)} ${stores.length - unreadable === 1 ? "store" : "stores"} in ${index.title}`, unreadable ? `, and ${unreadable} that cannot be read` : "", "."),
      table({rows: stores, columns, filters, what: "stores"})]};
  });

  const state = (video, stream) => {
    const code = video.code(stream);
    if (code === MISSING) return tag("missing", "warn");
    if (code === FAILED) return tag("failed", "warn");
    return whole(code);
  };
  const stateFilter = {name: "state", title: "Features", options: [["whole", "has all"], ["lacks", "lacks some"], ["failed", "failed"]],
    keep: (one, value) => value === "failed" ? one.failed : value === "lacks" ? one.lacks.length > 0 : one.lacks.length === 0};
  const videoFilters = (videos) => [
    {name: "category", title: "Category", options: different(videos.map((one) => one.piece).filter((one, at, all) => one !== all[at - 1]), (one) => one.category[0]), keep: (one, value) => one.category === value},
    {name: "split", title: "Split", options: different(videos.map((one) => one.piece).filter((one, at, all) => one !== all[at - 1]), (one) => one.split[0]), keep: (one, value) => one.split === value},
    stateFilter,
  ];

  page("store", async ([number], query, index) => {
    const stores = await load("stores"), store = stores[number];
    if (!store || store.fault) throw new Error(store ? `${store.name} cannot be read: ${store.fault}` : `there is no store ${number}`);
    const videos = await videosOfStore(stores, +number), names = perStream(store), recipes = videos[0]?.piece.recipes || [];
    const scores = videos[0]?.piece.scores.map(([name]) => name) || [];
    const columns = [
      {title: "Video", value: (one) => one.id, text: (one) => one.id, cell: (one) => link(one.address, one.id)},
      {title: "Category", value: (one) => one.category, text: (one) => one.category, cell: (one) => one.category},
      {title: "Split", value: (one) => one.split, text: (one) => one.split, cell: (one) => one.split},
      {title: "Length", number: true, value: (one) => one.seconds, cell: (one) => clock(one.seconds)},
      ...names.map((name, stream) => ({title: name, number: true, value: (one) => one.code(stream), cell: (one) => state(one, stream)})),
      ...scores.slice(0, 4).map((name) => ({title: name, number: true, value: (one) => one.score(name), cell: (one) => decimals(one.score(name), 2)})),
    ].filter((one) => !["Category", "Split", "Length"].includes(one.title) || videos.some((video) => one.value(video)));
    const lacking = names.map((name, stream) => [String(stream), name]);
    const filters = [...videoFilters(videos), {name: "without", title: "Without", all: "-", options: lacking.length > 1 ? lacking : [], keep: (one, value) => one.code(+value) < 0}];
    const counts = (pairs) => pairs.map(([name, count]) => `${name} ${whole(count)}`).join(", ");
    return {title: store.name, content: [
      h("p", {class: "crumbs"}, link("#/stores", "Stores"), " / ", store.name),
      h("h1", null, store.name),
      h("p", {class: "lead"}, store.title || store.dataset, random(store.streams) ? [" ", tag("random weights: for trying things out, not for results", "warn")] : ""),
      facts([["Videos", `${whole(store.videos)}${store.lacking ? `, ${whole(store.lacking)} lack features` : ""}`], ["Splits", counts(store.splits)], ["Categories", counts(store.categories)],
        ["Scores", counts(store.scores)], ["Groups", store.groups.map(([name, count]) => `${name} (${whole(count)})`).join(", ")],
        ["Prompt sets", store.texts.map(([name, encoder, dim, made]) => `${name} by ${encoder}, ${dim} wide${made ? ", random weights" : ""}`).join("; ")],
        ["Size", megabytes(store.bytes)], ["Written", store.created.slice(0, 16).replace("T", " ")], ["Dataset's licence", store.licence || "not stated", true]]),
      h("h2", null, "Features"),
      store.streams.length ? plain(["Stream", {title: "Videos with features", wide: true}, {title: "Failed", number: true}, {title: "Missing", number: true}, {title: "Clips", number: true}, {title: "Width", number: true}, "Type", {title: "Licence of the weights", wide: true}],
        store.streams.map((one) => [one.name, h("div", null, `${whole(one.ok)} of ${whole(store.videos)}`, coverage(one, store.videos)), whole(one.failed), whole(one.missing), whole(one.clips), whole(one.dim), one.dtype, one.licence || "unknown"])) : h("p", {class: "quiet"}, "This store has labels and no features."),
      recipes.map((pairs, stream) => h("details", null, h("summary", null, `Recipe of ${store.streams[stream].name}`),
        plain(["Field", {title: "Value", wide: true}], pairs.map(([name, value]) => [name.replaceAll("_", " "), value])))),
      h("h2", null, "Videos"),
      table({rows: videos, columns, filters, what: "videos"}),
      longtake.linksOfStore ? longtake.linksOfStore(store, index) : null,
      h("h2", null, "Use it"),
      command(`features info ${shell(store.place)}`),
      command(`train heads --features ${shell(store.place)}`),
      store.lacking ? command(`features verify ${shell(store.place)}`) : null,
    ]};
  });
  function coverage(stream, videos) {
    const part = (kind, count) => { const made = h(kind); made.style.width = `${videos ? 100 * count / videos : 0}%`; return made; };
    return h("div", {class: "coverage", role: "img", "aria-label": `${stream.ok} with features, ${stream.failed} failed, ${stream.missing} missing`}, part("i", stream.ok), part("b", stream.failed));
  }

  page("videos", async (parts, query, index) => {
    const stores = await load("stores");
    const videos = await videosOf(stores, Array.from({length: index.blocks}, (one, at) => at));
    const columns = [
      {title: "Video", value: (one) => one.id, text: (one) => `${one.id} ${one.source}`, cell: (one) => link(one.address, one.id)},
      {title: "Store", value: (one) => one.store.name, text: (one) => one.store.name, wide: true, cell: (one) => link(`#/store/${one.piece.store}`, one.store.name)},
      {title: "Dataset", value: (one) => one.store.dataset, text: (one) => one.store.dataset, cell: (one) => one.store.dataset},
      {title: "Category", value: (one) => one.category, text: (one) => one.category, cell: (one) => one.category},
      {title: "Split", value: (one) => one.split, text: (one) => one.split, cell: (one) => one.split},
      {title: "Length", number: true, value: (one) => one.seconds, cell: (one) => clock(one.seconds)},
      {title: "Score", number: true, value: (one) => one.total, cell: (one) => decimals(one.total, 2)},
      {title: "Lacks", value: (one) => one.lacks.length || null, wide: true, cell: (one) => one.lacks.length ? one.lacks.map((s) => tag(s.backbone, "warn")) : h("span", {class: "quiet"}, "nothing")},
    ].filter((one) => !["Category", "Split", "Length", "Score"].includes(one.title) || videos.some((video) => !missing(one.value(video)) && one.value(video) !== ""));
    const filters = [
      {name: "dataset", title: "Dataset", options: different(stores, (one) => one.dataset), keep: (one, value) => one.store.dataset === value},
      ...videoFilters(videos),
      {name: "without", title: "Without", all: "-", options: different(stores, (one) => one.streams.map((s) => s.backbone)), keep: (one, value) => one.lacks.some((s) => s.backbone === value)},
    ];
    return {title: "Videos", content: [h("h1", null, "Videos"),
      h("p", {class: "lead"}, "Every video of every store: a video of two stores has two rows."),
      table({rows: videos, columns, filters, what: "videos", empty: "No store has videos."})]};
  });

  page("video", async ([number, row], query, index) => {
    const stores = await load("stores"), store = stores[number];
    if (!store || store.fault) throw new Error(`there is no store ${number}`);
    const video = (await videosOfStore(stores, +number)).find((one) => one.row === +row);
    if (!video) throw new Error(`${store.name} has no video in row ${row}`);
    const more = longtake.aboutVideo ? await longtake.aboutVideo(video, +number, index) : [];
    return {title: video.id, content: [
      h("p", {class: "crumbs"}, link("#/stores", "Stores"), " / ", link(`#/store/${number}`, store.name), " / ", video.id),
      h("h1", null, video.id),
      h("p", {class: "lead"}, store.title || store.dataset),
      facts([["Category", video.category], ["Split", video.split], ["Length", clock(video.seconds)], ["File", video.source], ...video.piece.scores.map(([name]) => [name, decimals(video.score(name), 2)]), ...video.groups]),
      more,
      h("h2", null, "Features"),
      store.streams.length ? plain(["Stream", "State", {title: "Why", wide: true}], store.streams.map((one, stream) => {
        const failure = video.failures.find(([, place]) => place === stream), code = video.code(stream);
        return [one.name, code >= 0 ? `${whole(code)} clips` : state(video, stream), failure ? `${failure[2]}: ${failure[3]}` : code === MISSING ? "never extracted for this store" : ""];
      })) : h("p", {class: "quiet"}, "This store has labels and no features."),
    ]};
  });

  // A video by its id, for pages that know no store.
  page("find", async (parts, query) => {
    const video = await longtake.findVideo(query.get("dataset") || "", query.get("id") || "");
    if (!video) throw new Error(`no store here has the video ${query.get("id")} of ${query.get("dataset")}`);
    history.replaceState(null, "", video.address);
    dispatchEvent(new HashChangeEvent("hashchange"));
    return {title: video.id, content: h("p", {class: "quiet"}, "Loading ...")};
  });
})();
