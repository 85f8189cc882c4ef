(() => {
  "use strict";
  const root = document.documentElement;
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

  // Numbers before texts, a dash last; equal ones stay as they are, which is the order of the unrounded values.
  const value = (cell) => {
    const text = cell.textContent.trim();
    const number = parseFloat(text.replace(/−/g, "-").replace(/,/g, "").replace(/^[(<\s]+/, ""));
    return text === "–" || text === "" ? null : Number.isNaN(number) ? text : number;
  };
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en"));
  };

  for (const table of document.querySelectorAll("table[id]")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((header, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const up = header.getAttribute("aria-sort") !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        header.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...body.rows].map((row) => [value(row.cells[index]), row]);
        rows.sort((one, two) => compare(one[0], two[0], up ? 1 : -1));
        body.append(...rows.map((one) => one[1]));
      });
    });
    const filter = document.querySelector(`[data-filter="${table.id}"]`);
    if (!filter) continue;
    const outcome = document.querySelector(`[data-outcome="${table.id}"]`);
    const count = document.querySelector(`[data-count="${table.id}"]`);
    const apply = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word)) || Boolean(outcome?.value && row.dataset.is !== outcome.value);
        shown += !row.hidden;
      }
      count.textContent = shown === body.rows.length ? "" : `${shown} of ${body.rows.length} rows`;
    };
    filter.addEventListener("input", apply);
    outcome?.addEventListener("change", apply);
    filter.closest(".controls").hidden = false;
  }

  const draw = () => {
    const style = getComputedStyle(root);
    const [back, text, line] = ["--back", "--text", "--line"].map((name) => style.getPropertyValue(name).trim());
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: text };
    for (const data of document.querySelectorAll("[data-plot]")) {
      const figure = JSON.parse(data.textContent);
      const layout = {
        ...figure.layout, paper_bgcolor: back, plot_bgcolor: back, font: { color: text, family: "system-ui, sans-serif" },
        xaxis: { ...axis, ...figure.layout.xaxis }, yaxis: { ...axis, ...figure.layout.yaxis },
        hoverlabel: { align: "left" }, margin: { t: 20, r: 20 }, legend: { orientation: "h", y: -0.2 },
      };
      const plot = document.getElementById(data.dataset.plot);
      Plotly.react(plot, figure.data, layout, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["toImage", "lasso2d", "select2d"] });
      if (!plot.dataset.linked) {
        plot.dataset.linked = "1";
        plot.on("plotly_click", (event) => {
          const page = event.points[0].customdata;
          if (typeof page === "string") location.href = page;
        });
      }
    }
  };
  draw();

  const button = document.getElementById("theme");
  const show = () => { button.setAttribute("aria-pressed", String(isDark())); };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("pocketbench-theme", root.dataset.theme); } catch { /* it lasts for this page */ }
    show();
    draw();
  });
  show();
})();
