"use strict";
// Draws the figures as they come into view, and shows the curves of one run alone.
const figures = JSON.parse(document.getElementById("figures").textContent);
const touch = matchMedia("(pointer: coarse)").matches;
const config = {
  displaylogo: false,
  responsive: true,
  displayModeBar: false,
};

function draw(plot) {
  if (plot.dataset.drawn || !plot.clientWidth) return;
  plot.dataset.drawn = "yes";
  const { data, layout } = figures[plot.dataset.figure];
  // A finger that drags is to move the page.
  Plotly.newPlot(plot, data, { ...layout, dragmode: touch ? false : "zoom" }, config);
}

const plots = [...document.querySelectorAll(".plot")];
const seen = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => draw(target)),
  { rootMargin: "800px" },
);
plots.forEach((plot) => seen.observe(plot));
addEventListener("beforeprint", () => plots.forEach(draw));

function highlight(group, run) {
  for (const plot of group.querySelectorAll(".plot[data-drawn]")) {
    const traces = figures[plot.dataset.figure].data;
    if (!traces.some((trace) => "meta" in trace)) continue;
    const shown = (trace) => run === null || !("meta" in trace) || String(trace.meta) === run;
    Plotly.restyle(plot, { opacity: traces.map((trace) => (shown(trace) ? 1 : 0.07)) });
  }
}

for (const group of document.querySelectorAll(".group")) {
  const buttons = [...group.querySelectorAll("button.run")];
  const pinned = () => buttons.find((one) => one.ariaPressed === "true")?.dataset.run ?? null;
  for (const one of group.querySelectorAll("[data-run]")) {
    one.addEventListener("pointerenter", () => highlight(group, one.dataset.run));
    one.addEventListener("pointerleave", () => highlight(group, pinned()));
  }
  for (const one of buttons) {
    one.addEventListener("click", () => {
      const on = one.ariaPressed !== "true";
      buttons.forEach((other) => (other.ariaPressed = String(on && other === one)));
      highlight(group, pinned());
    });
  }
}
