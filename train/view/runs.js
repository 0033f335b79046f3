"use strict";
// Runs, sweeps and benches, and what runs say of a video.
(() => {
  const {load, h, svg, link, tag, facts, command, shell, whole, decimals, error, missing, table, plain, different, page, tab} = longtake;
  const FEW = 30, AVERAGE = "average";
  tab("runs", "Runs", "runs", ["run", "compare"]);
  tab("sweeps", "Sweeps", "sweeps", ["sweep"]);
  tab("benches", "Benches", "benches", ["bench"]);

  const named = (row) => [row.category, row.score].filter(Boolean).join(" ") || "all";
  // The average, or the only row.
  const main = (run) => run.rows.find((row) => row.category === AVERAGE && !row.score) || run.rows[0];
  const interval = (ends, digits) => ends ? `[${ends.map((end) => digits === 3 ? end.toFixed(2) : error(end)).join(", ")}]` : "";
  const marks = (run) => [run.random && tag("random weights", "warn"), run.unfinished && tag(run.unfinished.toLowerCase(), "warn"),
    main(run) && main(run).num_test < FEW && tag(`${main(run).num_test} test videos: few`, "warn")].filter(Boolean);

  // A figure with its interval on a scale; `at` maps a value to 0..1.
  function bar(value, ends, low, high, base) {
    if (missing(value)) return null;
    const x = (one) => 4 + 92 * Math.min(1, Math.max(0, (one - low) / (high - low || 1)));
    return svg("svg", {class: "bar", viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true"},
      svg("line", {class: "axis", x1: 4, x2: 96, y1: 7, y2: 7, "vector-effect": "non-scaling-stroke"}),
      missing(base) ? null : svg("line", {class: "base", x1: x(base), x2: x(base), y1: 1, y2: 13, "vector-effect": "non-scaling-stroke"}),
      ends && svg("line", {class: "range", x1: x(ends[0]), x2: x(ends[1]), y1: 7, y2: 7, "vector-effect": "non-scaling-stroke"}),
      svg("line", {class: "tick", x1: x(value), x2: x(value), y1: 2, y2: 12, "vector-effect": "non-scaling-stroke"}));
  }
  // Not by Math.min(...): there may be more values than a call takes.
  const limits = (values) => values.reduce(([low, high], one) => [Math.min(low, one), Math.max(high, one)], [Infinity, -Infinity]);
  function scale(rows, of) {
    const ends = rows.flatMap((row) => [row[of], row[`floor_${of}`], ...(row[`${of}_interval`] || [])]).filter((one) => !missing(one));
    const [low, high] = limits(ends);
    return of === "spearman" ? [Math.min(0, low), 1] : [0, high];
  }

  page("runs", async (parts, query, index) => {
    const runs = (await load("runs")).map((one, number) => ({...one, number}));
    const chosen = new Set((query.get("with") || "").split(",").filter(Boolean).map(Number));
    const button = h("button", {type: "button", class: "main", onclick: () => {
      // The way back leads to the same choice.
      const [path, rest] = location.hash.split("?"), state = new URLSearchParams(rest || "");
      state.set("with", [...chosen].join(","));
      history.replaceState(null, "", `${path}?${state}`);
      location.hash = `#/compare/${[...chosen].join(",")}`;
    }});
    const update = () => {
      button.textContent = chosen.size ? `Compare ${chosen.size} runs` : "Compare runs";
      button.disabled = chosen.size < 2;
    };
    update();
    const [low, high] = scale(runs.map(main).filter(Boolean), "spearman");
    const columns = [
      {title: "", cell: (one) => one.fault ? "" : h("input", {type: "checkbox", "aria-label": `compare ${one.name}`, checked: chosen.has(one.number),
        onchange: (event) => { event.target.checked ? chosen.add(one.number) : chosen.delete(one.number); update(); }})},
      {title: "Run", value: (one) => one.name, text: (one) => `${one.name} ${one.head} ${one.features}`, wide: true,
        cell: (one) => one.fault ? [one.name, h("div", {class: "fault"}, `cannot be read: ${one.fault}`)] : [link(`#/run/${one.number}`, one.name), " ", marks(one)]},
      {title: "Head", value: (one) => one.head, cell: (one) => one.head},
      {title: "Dataset", value: (one) => one.dataset, text: (one) => one.dataset, cell: (one) => one.dataset},
      {title: "Features", value: (one) => one.features, cell: (one) => one.features},
      {title: "Tested by", value: (one) => one.rule, cell: (one) => one.fault ? "" : one.rule || "own split"},
      {title: "Spearman", number: true, value: (one) => main(one)?.spearman, cell: (one) => main(one) ? [decimals(main(one).spearman, 3) || "undefined", h("div", {class: "quiet small"}, interval(main(one).spearman_interval, 3))] : ""},
      {title: "95% interval", cell: (one) => main(one) ? bar(main(one).spearman, main(one).spearman_interval, low, high) : ""},
      {title: "MSE", number: true, value: (one) => main(one)?.mse, cell: (one) => main(one) ? error(main(one).mse) : ""},
      {title: "Ended (UTC)", value: (one) => one.date, cell: (one) => one.date},
    ];
    columns.name = 1;
    const filters = [
      {name: "dataset", title: "Dataset", options: different(runs, (one) => one.dataset), keep: (one, value) => one.dataset === value},
      {name: "head", title: "Head", options: different(runs, (one) => one.head), keep: (one, value) => one.head === value},
      {name: "features", title: "Features", options: different(runs, (one) => one.features), keep: (one, value) => one.features === value},
      {name: "part", title: "Part of", options: [["alone", "no sweep or bench"], ...different(runs, (one) => one.part_of)], keep: (one, value) => value === "alone" ? !one.part_of : one.part_of === value},
    ];
    return {title: "Runs", content: [h("h1", null, "Runs"),
      h("p", {class: "lead"}, "The average over a run's categories and scores, or its only result, after the last epoch, with its 95% interval. Averages of other categories or datasets are not comparable."),
      table({rows: runs, columns, filters, order: "-9", what: "runs", extra: runs.length > 1 ? button : null})]};
  });

  const figures = (row, over) => [named(row), `${whole(row.num_train)} / ${whole(row.num_test)}`,
    [missing(row.spearman) ? "undefined" : decimals(row.spearman, 3), missing(row.deviation) ? "" : ` \u00b1 ${decimals(row.deviation, 3)}`, h("div", {class: "quiet small"}, interval(row.spearman_interval, 3))],
    [error(row.mse), h("div", {class: "quiet small"}, interval(row.mse_interval, 2))],
    decimals(row.floor_spearman, 3), decimals(row.no_video_spearman, 3), decimals(row.within_spearman, 3)];

  page("run", async ([number]) => {
    const run = (await load("runs"))[number];
    if (!run || run.fault) throw new Error(run ? `${run.name} cannot be read: ${run.fault}` : `there is no run ${number}`);
    const {videos, fault} = await load(`run-${number}`);
    const rows = videos.map(([id, category, score, truth, predicted, heads]) => ({id, category, score, truth, predicted, heads, off: predicted - truth}));
    const keys = [...new Set(rows.map(named))];
    const columns = [
      {title: "Video", value: (one) => one.id, text: (one) => one.id, cell: (one) => link(`#/find?${new URLSearchParams({dataset: run.dataset, id: one.id})}`, one.id)},
      {title: "Category", value: (one) => one.category, text: (one) => one.category, cell: (one) => one.category},
      {title: "Score", value: (one) => one.score, text: (one) => one.score, cell: (one) => one.score},
      {title: "Judges", number: true, value: (one) => one.truth, cell: (one) => decimals(one.truth, 2)},
      {title: "Predicted", number: true, value: (one) => one.predicted, cell: (one) => decimals(one.predicted, 2)},
      {title: "Difference", number: true, value: (one) => Math.abs(one.off), cell: (one) => `${one.off > 0 ? "+" : ""}${decimals(one.off, 2)}`},
    ];
    const within = run.rows.find((row) => row.within)?.within;
    const titles = ["Result", {title: "Train / test", number: true}, {title: "Spearman", number: true}, {title: "MSE", number: true}, {title: "Ridge baseline", number: true}, {title: "Without video", number: true}, {title: `Within ${within || "groups"}`, number: true}];
    const all = run.rows.map((row) => figures(row)), used = titles.map((one, place) => place < 4 || all.some((row) => row[place]));
    return {title: run.name, content: [
      h("p", {class: "crumbs"}, link("#/runs", "Runs"), " / ", run.name),
      h("h1", null, run.name), h("p", null, marks(run)),
      h("p", null, link(`#/runs?${new URLSearchParams({dataset: run.dataset, with: number})}`, "Compare with other runs")),
      facts([["Head", run.head], ["Dataset", link(`#/stores?${new URLSearchParams({dataset: run.dataset})}`, run.dataset)], ["Features", `${run.features} (${run.recipe_id})`], ["Tested by", run.rule || "the dataset's own split"], ["Models", whole(run.num_models)], ["Ended (UTC)", run.date], ["Part of", run.part_of]]),
      h("h2", null, "Results"),
      h("p", {class: "quiet small"}, `After the last epoch. [low, high]: 95% interval over ${run.over && run.over !== "videos" ? `the groups of test videos by ${run.over}` : "the test videos"} (BCa bootstrap). Fewer than ${FEW} test videos rank no methods.`),
      run.rule === "leave-one-out" ? h("p", {class: "quiet small"}, "Leave-one-out: the correlation is over the scores of all folds at once. There, guessing the mean of the training videos has -1 and not 0.") : null,
      plain(titles.filter((one, place) => used[place]), all.map((row) => row.filter((one, place) => used[place]))),
      h("h2", null, "Predictions"),
      fault ? h("p", {class: "fault"}, fault) : [
        h("div", {class: "grid"}, keys.slice(0, 12).map((key) => scatter(key, rows.filter((one) => named(one) === key), run.dataset))),
        table({rows, columns, order: "-5", what: "test videos"})],
      h("h2", null, "Settings"),
      h("details", null, h("summary", null, "All settings"), plain(["Model", "Setting", {title: "Value", wide: true}], run.settings)),
      command(`train report --run ${shell(run.place)}`),
    ]};
  });

  function scatter(title, rows, dataset) {
    const values = rows.flatMap((one) => [one.truth, one.predicted]), [low, high] = limits(values);
    const room = (high - low || 1) * 0.05, from = low - room, to = high + room, x = (one) => 36 + 200 * (one - from) / (to - from), y = (one) => 210 - 200 * (one - from) / (to - from);
    const digits = to - from < 5 ? 2 : to - from < 50 ? 1 : 0;
    return h("figure", {class: "card"}, h("figcaption", null, title, " ", h("span", {class: "quiet small"}, `${rows.length} test videos`)),
      svg("svg", {viewBox: "0 0 250 245", role: "img", "aria-label": `predicted against judges' scores, ${title}`},
        svg("line", {class: "axis", x1: x(from), y1: y(from), x2: x(to), y2: y(to)}), svg("line", {class: "axis", x1: 36, y1: 210, x2: 236, y2: 210}), svg("line", {class: "axis", x1: 36, y1: 10, x2: 36, y2: 210}),
        [low, high].map((one) => [svg("text", {x: x(one), y: 224, "text-anchor": "middle"}, one.toFixed(digits)), svg("text", {x: 32, y: y(one) + 4, "text-anchor": "end"}, one.toFixed(digits))]),
        svg("text", {x: 136, y: 240, "text-anchor": "middle"}, "judges"), svg("text", {x: 14, y: 110, "text-anchor": "middle", transform: "rotate(-90 14 110)"}, "predicted"),
        rows.slice(0, 3000).map((one) => svg("circle", {class: "dot", cx: x(one.truth).toFixed(1), cy: y(one.predicted).toFixed(1), r: 3}, svg("title", null, `${one.id}: judges ${one.truth.toFixed(2)}, predicted ${one.predicted.toFixed(2)}`)))));
  }

  page("compare", async ([numbers], query, index) => {
    const all = await load("runs"), papers = await load("papers"), runs = (numbers || "").split(",").map((one) => ({...all[one], number: +one})).filter((one) => one.name && !one.fault);
    if (!runs.length) throw new Error("choose runs to compare on the page of runs");
    const datasets = [...new Set(runs.map((one) => one.dataset))];
    const parts = datasets.map((dataset) => {
      const mine = runs.filter((one) => one.dataset === dataset), keys = [...new Set(mine.flatMap((run) => run.rows.map(named)))];
      keys.sort((one, other) => (one === AVERAGE) - (other === AVERAGE));
      return [datasets.length > 1 ? h("h2", null, dataset) : null, keys.map((key) => {
        const rows = mine.map((run) => ({run, row: run.rows.find((one) => named(one) === key)})).filter((one) => one.row);
        return h("section", {class: "card"}, h("h3", null, key), different_tests(rows), ["spearman", "mse"].map((figure) => forest(rows, figure)));
      })];
    });
    const tests = runs.length >= 2 && datasets.length === 1 ? await paired(runs, query, index) : null;
    return {title: "Runs compared", content: [
      h("p", {class: "crumbs"}, link(`#/runs?with=${runs.map((one) => one.number).join(",")}`, "Runs"), " / compared"),
      h("h1", null, `${runs.length} runs compared`),
      h("p", {class: "lead"}, "Bars are 95% intervals, the mark in each is the figure, and the dashed line the ridge baseline on the same features. Intervals that overlap do not settle which run is better: the paired test below compares video by video."),
      datasets.length > 1 ? h("p", {class: "fault"}, `These runs are on different datasets (${datasets.join(", ")}): only those of one dataset are comparable.`) : null,
      plain(["Run", "Head", "Features", "Tested by", {title: "Marks", wide: true}], runs.map((one) => [link(`#/run/${one.number}`, one.name), one.head, one.features, one.rule || "own split", marks(one)])),
      parts,
      tests,
      datasets.map((dataset) => papers[dataset] ? printed(dataset, runs.filter((one) => one.dataset === dataset), papers[dataset]) : null),
    ]};
  });

  // Every run against one of them, video by video, over the same resamples.
  async function paired(runs, query, index) {
    const against = runs.find((one) => String(one.number) === query.get("against")) || runs[0], others = runs.filter((one) => one !== against);
    const found = await Promise.all(others.map((one) => pairOf(one, against, index.paired)));
    const choice = h("select", {"aria-label": "against", onchange: () => { location.hash = `#/compare/${runs.map((one) => one.number).join(",")}?against=${choice.value}`; }},
      runs.map((one) => h("option", {value: one.number}, one.name)));
    choice.value = against.number;
    const p = (value) => missing(value) ? "" : value < 0.001 ? "< 0.001" : value.toFixed(3);
    const signed = (value) => `${value > 0 ? "+" : value < 0 ? "\u2212" : ""}${Math.abs(value).toFixed(3)}`;
    const words = ([count, gap, low, high]) => missing(low) ? "no interval" : low > 0 ? "ranks better" : high < 0 ? "ranks worse" : "not told apart";
    return [h("h2", null, "Paired test"),
      h("div", {class: "controls"}, h("label", null, "Every run against", choice)),
      plain(["Run", {title: "Videos", number: true}, {title: "Difference of Spearman", number: true}, {title: "p", number: true}, "Reading", {title: "Squared error, times", number: true}, {title: "p (Wilcoxon)", number: true}, {title: "Not compared", wide: true}],
        others.map((one, place) => {
          const pair = found[place], name = `${one.name} against ${against.name}`;
          if (!Array.isArray(pair)) return [name, "", "", "", "", "", "", pair || "this export has no test of these two"];
          const [count, gap, low, high, chance, ratio, chanceOfError] = pair;
          return [name, [whole(count), count < FEW ? [" ", tag("few", "warn")] : ""], missing(gap) ? "undefined" : [signed(gap), h("div", {class: "quiet small"}, missing(low) ? "" : `[${signed(low)}, ${signed(high)}]`)],
            p(chance), words(pair), decimals(ratio, 2), p(chanceOfError), ""];
        })),
      h("p", {class: "quiet small"}, "Differences are of the mean over seeds, with 95% intervals over the test videos (or their groups), by the same resamples for both runs. An interval that holds 0 does not tell the two apart."),
      command(`train compare ${[against, ...others].map((one) => shell(one.place)).join(" ")} --test`)];
  }
  async function pairOf(one, other, which) {
    if (which === "asked") return load(`paired-${one.number}-${other.number}`);
    if (!which || (which === "single" && (one.part_of || other.part_of))) return "";
    return (await load(`paired-${one.number}`)).find(([number]) => number === other.number)?.[1];
  }

  // What papers print for the dataset, with the runs above it. An average is of the papers' categories and scores, or it is left out.
  function printed(dataset, runs, papers) {
    const keys = [...new Set(papers.flatMap((line) => [...Object.keys(line.spearman), ...Object.keys(line.mse)]))].sort((one, other) => (one === AVERAGE) - (other === AVERAGE));
    const own = (run) => run.rows.map(named).filter((key) => key !== AVERAGE), whole = keys.filter((key) => key !== AVERAGE);
    const same = (run) => own(run).length === whole.length && own(run).every((key) => whole.includes(key));
    const cell = (rho, mse) => missing(rho) && missing(mse) ? "" : `${missing(rho) ? "-" : decimals(rho, 3)} / ${missing(mse) ? "-" : error(mse)}`;
    const rows = runs.map((run) => [link(`#/run/${run.number}`, run.name), run.features, ...keys.map((key) => {
      const row = run.rows.find((one) => named(one) === key);
      return row && (key !== AVERAGE || same(run)) ? cell(row.spearman, row.mse) : "";
    }), `last epoch${run.rule ? `, ${run.rule}` : ""}`]);
    const theirs = papers.map((line) => [line.method, line.features, ...keys.map((key) => cell(line.spearman[key], line.mse[key])), line.source]);
    return [h("h2", null, `What papers print for ${dataset}`),
      h("p", {class: "quiet small"}, "Spearman / MSE. Papers print the epoch that was best on the test videos, on the official split, without intervals: their rows are not comparable with runs of other splits, and look better than a last epoch."),
      plain(["Method", "Features", ...keys.map((key) => ({title: key, number: true})), {title: "Figures of", wide: true}], [...rows, ...theirs])];
  }
  const different_tests = (rows) => new Set(rows.map(({run, row}) => `${run.rule}|${row.num_test}`)).size > 1
    ? h("p", {class: "fault small"}, `Tested on different videos or splits (${[...new Set(rows.map(({run, row}) => `${row.num_test} videos, ${run.rule || "own split"}`))].join("; ")}): not comparable.`) : null;
  function forest(rows, figure) {
    const found = rows.filter(({row}) => !missing(row[figure]));
    if (!found.length) return null;
    const [low, high] = scale(found.map(({row}) => row), figure), title = figure === "spearman" ? "Spearman (higher is better)" : "MSE (lower is better)";
    return h("div", {class: "forest"}, h("div", {class: "quiet small"}, title), found.map(({run, row}) => h("div", {class: "line"},
      h("span", {class: "who"}, run.name), bar(row[figure], row[`${figure}_interval`], low, high, row[figure === "spearman" ? "floor_spearman" : "floor_mse"]),
      h("span", {class: "number"}, figure === "spearman" ? decimals(row[figure], 3) : error(row[figure]), " ", h("span", {class: "quiet small"}, interval(row[`${figure}_interval`], figure === "spearman" ? 3 : 2))))),
      h("div", {class: "line ends quiet small"}, h("span"), h("span", null, [low, high].map((end) => h("span", null, figure === "spearman" ? decimals(end, 2) : error(end)))), h("span")));
  }

  page("sweeps", async () => {
    const sweeps = (await load("sweeps")).map((one, number) => ({...one, number}));
    const columns = [
      {title: "Sweep", value: (one) => one.name, text: (one) => one.name, cell: (one) => one.fault ? [one.name, h("div", {class: "fault"}, `cannot be read: ${one.fault}`)] : [link(`#/sweep/${one.number}`, one.name), " ", one.random && tag("random weights", "warn")]},
      {title: "Heads", text: (one) => one.lines.map((line) => line.head).join(" "), wide: true, cell: (one) => [...new Set(one.lines.map((line) => line.head))].join(", ")},
      {title: "Features", wide: true, cell: (one) => [...new Set(one.lines.map((line) => line.backbone))].join(", ")},
      {title: "Seeds", number: true, value: (one) => Math.max(...one.lines.map((line) => line.num_seeds)), cell: (one) => one.lines.length ? whole(Math.max(...one.lines.map((line) => line.num_seeds))) : ""},
    ];
    return {title: "Sweeps", content: [h("h1", null, "Sweeps"), table({rows: sweeps, columns, what: "sweeps"})]};
  });
  page("sweep", async ([number]) => {
    const sweep = (await load("sweeps"))[number];
    if (!sweep || sweep.fault) throw new Error(sweep ? `${sweep.name} cannot be read: ${sweep.fault}` : `there is no sweep ${number}`);
    const ends = (found) => found ? [found.low, found.high] : null;
    const [low, high] = scale(sweep.lines.map((one) => ({spearman: one.spearman, spearman_interval: ends(one.spearman_interval)})), "spearman");
    const over = [...new Set(sweep.lines.filter((one) => one.spearman_interval || one.mse_interval).map((one) => one.intervals_over))];
    const columns = [
      {title: "Head", value: (one) => one.head, text: (one) => one.head, cell: (one) => one.head},
      {title: "Features", value: (one) => one.backbone, text: (one) => one.backbone, cell: (one) => one.backbone},
      {title: "Result", value: (one) => named(one), text: named, cell: named},
      {title: "Seeds", number: true, value: (one) => one.num_seeds, cell: (one) => whole(one.num_seeds)},
      {title: "Videos", number: true, value: (one) => one.num_videos, cell: (one) => [whole(one.num_videos), one.num_videos < FEW ? [" ", tag("few", "warn")] : ""]},
      {title: "Spearman", number: true, value: (one) => one.spearman, cell: (one) => missing(one.spearman) ? "undefined" : [decimals(one.spearman, 3), missing(one.deviation) ? "" : ` \u00b1 ${decimals(one.deviation, 3)}`, h("div", {class: "quiet small"}, interval(ends(one.spearman_interval), 3))]},
      {title: "95% interval", cell: (one) => bar(one.spearman, ends(one.spearman_interval), low, high)},
      {title: "MSE", number: true, value: (one) => one.mse, cell: (one) => [error(one.mse), h("div", {class: "quiet small"}, interval(ends(one.mse_interval), 2))]},
    ];
    const filters = [{name: "result", title: "Result", options: different(sweep.lines, (one) => [named(one)]), keep: (one, value) => named(one) === value}];
    return {title: sweep.name, content: [h("p", {class: "crumbs"}, link("#/sweeps", "Sweeps"), " / ", sweep.name), h("h1", null, sweep.name), sweep.random ? h("p", null, tag("random weights: these numbers say nothing about a method's quality", "warn")) : null,
      h("p", {class: "lead"}, `After the last epoch; \u00b1 is the deviation over seeds. ${over.length ? `[low, high]: 95% interval over ${over.map((one) => one === "videos" ? "the test videos" : `the groups of test videos by ${one}`).join(" or ")} (BCa bootstrap). ` : ""}Fewer than ${FEW} test videos rank no methods.`),
      table({rows: sweep.lines, columns, filters, what: "results"}),
      h("p", null, link(`#/runs?${new URLSearchParams({part: sweep.name})}`, "Its runs"))]};
  });

  page("benches", async () => {
    const benches = (await load("benches")).map((one, number) => ({...one, number}));
    const columns = [
      {title: "Bench", value: (one) => one.name, text: (one) => `${one.name} ${one.title}`, cell: (one) => one.fault ? [one.name, h("div", {class: "fault"}, `cannot be read: ${one.fault}`)] : link(`#/bench/${one.number}`, one.name)},
      {title: "Title", wide: true, cell: (one) => one.title},
      {title: "Tables", wide: true, cell: (one) => one.tables.map((board) => `${board.dataset}, ${board.split}`).join("; ")},
      {title: "Rows", number: true, value: (one) => one.tables.reduce((sum, board) => sum + board.rows.length, 0), cell: (one) => one.fault ? "" : whole(one.tables.reduce((sum, board) => sum + board.rows.length, 0))},
    ];
    return {title: "Benches", content: [h("h1", null, "Benches"), table({rows: benches, columns, what: "benches"})]};
  });
  const words = (metric) => ({spearman: "Spearman", mse: "MSE", within_group: "Spearman within groups", relative_l2: "R-l2 x100"})[metric] || metric;
  page("bench", async ([number]) => {
    const bench = (await load("benches"))[number];
    if (!bench || bench.fault) throw new Error(bench ? `${bench.name} cannot be read: ${bench.fault}` : `there is no bench ${number}`);
    return {title: bench.title, content: [h("p", {class: "crumbs"}, link("#/benches", "Benches"), " / ", bench.name), h("h1", null, bench.title), bench.about ? h("p", {class: "lead"}, bench.about) : null,
      bench.tables.map((board) => {
        const column = board.columns.includes(AVERAGE) ? AVERAGE : board.columns[0], metric = board.metrics[0], correlation = metric === "spearman" || metric === "within_group";
        const ofAll = board.rows.map((row) => row.figures[column]?.[metric]).filter(Boolean).map((one) => ({spearman: one.value, spearman_interval: missing(one.low) ? null : [one.low, one.high]}));
        const [low, high] = correlation ? scale(ofAll, "spearman") : [0, limits(ofAll.flatMap((one) => [one.spearman, ...(one.spearman_interval || [])]).filter((one) => !missing(one)))[1]];
        const shown = (name, value) => name === "spearman" || name === "within_group" ? decimals(value, 3) : error(value);
        return [h("h2", null, `${board.dataset}, ${board.split}`), h("p", {class: "quiet small"}, `${board.about}; ${board.note || `${whole(board.num_videos)} tested videos`}`),
          plain([{title: "Head"}, {title: "Rank", number: true}, "Features", {title: column ? `${words(metric)}, ${column}` : "Result", number: true}, "95% interval", ...board.metrics.slice(1).map((one) => ({title: words(one), number: true})), {title: "Remarks", wide: true}],
            board.rows.map((row) => {
              const mine = row.figures[column] || {}, first = mine[metric];
              return [row.name, missing(row.rank) ? "" : `${row.rank} (${row.rank_low}\u2013${row.rank_high})`, row.features, first ? shown(metric, first.value) || "undefined" : row.state, first ? bar(first.value, missing(first.low) ? null : [first.low, first.high], low, high) : "",
                ...board.metrics.slice(1).map((one) => mine[one] ? shown(one, mine[one].value) : ""), [row.reason, ...row.marks].filter(Boolean).join("; ")];
            })),
          board.columns.length > 1 ? h("details", null, h("summary", null, "All columns"),
            plain(["Head", "Features", ...board.columns.map((name) => ({title: `${name}: ${board.metrics.map(words).join(" / ")}`, number: true}))],
              board.rows.map((row) => [row.name, row.features, ...board.columns.map((name) => board.metrics.map((one) => row.figures[name]?.[one]).map((one, place) => one ? shown(board.metrics[place], one.value) || "undefined" : "").filter(Boolean).join(" / "))]))) : null];
      }),
      h("p", {class: "quiet small"}, "In brackets: the ranks that the test videos cannot exclude."), link(`#/runs?${new URLSearchParams({part: bench.name})}`, "Its runs")]};
  });

  longtake.linksOfStore = (store, index) => index.counts.runs ? h("p", null, link(`#/runs?${new URLSearchParams({dataset: store.dataset})}`, `Runs on ${store.dataset}`)) : null;

  // What the page of a video has in addition: the video itself, and what runs predict.
  longtake.aboutVideo = async (video, store, index) => {
    const runs = await load("runs"), scored = index.scored.includes(store) ? await load(`scored-${store}`) : [];
    const rows = scored.flatMap(([run, videos]) => videos.filter(([row]) => row === video.row).map(([, category, score, truth, predicted]) => ({run: runs[run], number: run, category, score, truth, predicted})));
    // A site of one file has no further pages.
    const looked = index.looked.includes(store) && !document.getElementById("data-index") ? (await load(`looked-${store}`)).filter(([row]) => row === video.row) : [];
    const address = index.videos ? new Map(await load(`playable-${store}`)).get(video.row) : "";
    return [index.videos ? address ? player(video, address) : h("p", {class: "quiet"}, `The folder of videos has no file ${video.source || "of this video"}, or several of that name.`) : null,
      looked.length ? [h("h2", null, "Where the heads looked"), h("ul", {class: "links"}, looked.map(([, run, name]) => h("li", null, link(`page/${name}.html`, `Attention over time, by ${runs[run].name}`))))] : null,
      h("h2", null, "What runs predict"),
      rows.length ? plain(["Run", "Head", "Score", {title: "Judges", number: true}, {title: "Predicted", number: true}, {title: "Difference", number: true}],
        rows.map((one) => [link(`#/run/${one.number}`, one.run.name), one.run.head, [one.category, one.score].filter(Boolean).join(" "), decimals(one.truth, 2), decimals(one.predicted, 2), `${one.predicted > one.truth ? "+" : ""}${decimals(one.predicted - one.truth, 2)}`]))
        : h("p", {class: "quiet"}, "No run was tested on this video: it is a training video of all runs here, or there are none on its dataset.")];
  };
  function player(video, address) {
    const box = h("video", {controls: true, preload: "metadata", src: address});
    box.addEventListener("error", () => box.replaceWith(h("p", {class: "quiet"}, `${video.source} cannot be played: it is damaged, or this browser lacks its codec.`)));
    return box;
  }
})();
