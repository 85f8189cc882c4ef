(() => {
  "use strict";
  const root = document.documentElement;
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

  // The unrounded number where a cell has one, else what it shows. Numbers before texts, a dash last, equal ones as they were at first.
  const value = (cell) => {
    if (cell.dataset.value) return Number(cell.dataset.value);
    const text = cell.textContent.trim();
    if (text === "–" || text === "") return null;
    const number = cell.classList.contains("r") ? parseFloat(text.replace(/−/g, "-").replace(/,/g, "").replace(/^[(<\s]+/, "")) : NaN;
    return Number.isNaN(number) ? text : number;
  };
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en"));
  };

  for (const table of document.querySelectorAll("table[id]")) {
    const body = table.tBodies[0], first = [...body.rows];
    [...table.tHead.rows[0].cells].forEach((header, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const up = header.getAttribute("aria-sort") !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        header.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = first.map((row) => [value(row.cells[index]), row]);
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

  const PAPER = 680; // px: the width of what is printed on A4
  const draw = (printed = false) => {
    const style = getComputedStyle(root);
    const colours = ["--back", "--text", "--line"].map((name) => style.getPropertyValue(name).trim());
    const [back, text, line] = printed ? ["#fff", "#000", "#bbb"] : colours;
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: text };
    for (const data of document.querySelectorAll("[data-plot]")) {
      const figure = JSON.parse(data.textContent);
      const layout = {
        ...figure.layout, paper_bgcolor: back, plot_bgcolor: back, font: { color: text, family: "system-ui, sans-serif" },
        xaxis: { ...axis, ...figure.layout.xaxis }, yaxis: { ...axis, ...figure.layout.yaxis },
        hoverlabel: { align: "left" }, margin: { t: 20, r: 20 },
        legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
        ...(printed ? { width: PAPER, height: 360 } : {}),
      };
      const plot = document.getElementById(data.dataset.plot);
      plot.closest("figure").hidden = false;
      Plotly.react(plot, figure.data, layout, { responsive: !printed, displaylogo: false,
        showSendToCloud: false, plotlyServerURL: "", // nothing leaves this page
        modeBarButtonsToRemove: ["toImage", "lasso2d", "select2d"] });
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
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw());

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
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { show(); draw(); });
})();
