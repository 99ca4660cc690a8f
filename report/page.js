// Conveniences only: without scripts the page says the same. No less-than sign and no ampersand, so that the page is well-formed XML too.
"use strict";
(function () {
  const root = document.documentElement, button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", function () {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  let opened = [];
  addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll("main > section > details:not([open])"));
    opened.forEach(function (d) { d.open = true; });
  });
  addEventListener("afterprint", function () { opened.forEach(function (d) { d.open = false; }); });

  // The view box and the plot's place in it: chart_frame.h.
  const WIDTH = 460, LEFT = 56, RIGHT = 12, TOP = 10, BOTTOM = 200;
  function text(value, unit) {
    if (unit === "%") return (100 * value).toFixed(1) + " %";
    return Number(value.toPrecision(4)) + (unit ? " " + unit : "");
  }
  window.r1AttachCharts = function (root) { root.querySelectorAll("[data-chart]").forEach(attach); };
  function attach(figure) {
    const chart = JSON.parse(figure.dataset.chart), svg = figure.querySelector("svg"), out = figure.querySelector(".readout");
    const steps = Array.from(new Set(chart.lines.flatMap(function (l) { return l.points.map(function (p) { return p[0]; }); })));
    steps.sort(function (a, b) { return a - b; });
    let at = -1, cursor = null;
    function show(index) {
      at = Math.max(0, Math.min(steps.length - 1, index));
      const x = LEFT + (steps[at] - chart.first) / (chart.last - chart.first) * (WIDTH - LEFT - RIGHT);
      if (cursor === null) {
        cursor = document.createElementNS(svg.namespaceURI, "line");
        cursor.setAttribute("class", "cursor");
        svg.appendChild(cursor);
      }
      for (const [name, value] of [["x1", x], ["x2", x], ["y1", TOP], ["y2", BOTTOM]]) cursor.setAttribute(name, value);
      const parts = [];
      chart.lines.forEach(function (l) {
        const point = l.points.find(function (p) { return p[0] === steps[at]; });
        if (point) parts.push(l.label + " " + text(point[1], chart.unit));
      });
      out.textContent = "step " + steps[at] + ": " + parts.join(", ");
    }
    function hide() {
      if (cursor) cursor.remove();
      cursor = null;
      out.textContent = "";
    }
    svg.addEventListener("pointermove", function (event) {
      const box = svg.getBoundingClientRect();
      const step = chart.first + ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT) * (chart.last - chart.first);
      let best = 0;
      steps.forEach(function (s, i) { if (Math.abs(step - steps[best]) > Math.abs(step - s)) best = i; });
      show(best);
    });
    svg.addEventListener("pointerleave", hide);
    figure.addEventListener("blur", hide);
    figure.addEventListener("keydown", function (event) {
      if (event.target !== figure) return;
      const move = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1}[event.key];
      if (move === undefined) return;
      event.preventDefault();
      show(move);
    });
  }
  window.r1AttachCharts(document);
})();
