"use strict";
// A figure is drawn when it comes near the window, so that the page is there at once.
const config = { responsive: true, displayModeBar: false };
const drawn = new Set();
function draw(plot) {
  if (drawn.has(plot)) return;
  drawn.add(plot);
  const spec = JSON.parse(plot.parentElement.querySelector('script[type="application/json"]').textContent);
  Plotly.newPlot(plot, spec.data, spec.layout, config);
}
const plots = document.querySelectorAll(".plot");
const near = new IntersectionObserver(
  (entries) => entries.filter((e) => e.isIntersecting).forEach((e) => draw(e.target)),
  { rootMargin: "600px" },
);
plots.forEach((plot) => near.observe(plot));
window.addEventListener("beforeprint", () => {
  plots.forEach(draw);
  plots.forEach((plot) => Plotly.Plots.resize(plot));
});
