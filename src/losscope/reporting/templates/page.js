"use strict";
// Plotly is 1.5 MB of text that would hold the page up: it is run when the page stands, and before a figure is needed.
// A figure is drawn when it comes near the window, or when the page is printed.
const config = { responsive: true, displayModeBar: false };
const plots = document.querySelectorAll(".plot");
const PAPER = 660; // the width of a figure on A4 and on letter, in pixels

function load() {
  if (window.Plotly) return;
  const script = document.createElement("script");
  script.textContent = document.getElementById("plotly").textContent;
  document.head.append(script); // runs at once
}
function draw(plot) {
  if (plot.childElementCount) return;
  load();
  const spec = JSON.parse(plot.closest("figure").querySelector('script[type="application/json"]').textContent);
  Plotly.newPlot(plot, spec.data, spec.layout, config);
}

// One after the other, so that the page answers between two of them.
const waiting = new Set();
const soon = (work) => (window.requestIdleCallback ? requestIdleCallback(work, { timeout: 500 }) : setTimeout(work));
function drawNext() {
  const [plot] = waiting;
  if (!plot) return;
  waiting.delete(plot);
  soon(drawNext);
  draw(plot);
}
function watch() {
  load();
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) entry.isIntersecting ? waiting.add(entry.target) : waiting.delete(entry.target);
      soon(drawNext);
    },
    { rootMargin: "600px" },
  );
  plots.forEach((plot) => near.observe(plot));
}
window.addEventListener("load", () => requestAnimationFrame(() => soon(watch)));

const width = (size) => plots.forEach((plot) => Plotly.relayout(plot, size));
window.addEventListener("beforeprint", () => {
  plots.forEach(draw);
  width({ width: PAPER });
});
window.addEventListener("afterprint", () => width({ width: null, autosize: true }));
