// Draws the page's graphs with uPlot from the JSON beside it: zoom, values under the pointer, one time axis for all.
// Whatever fails here leaves the still pictures where they are.
(() => {
"use strict";
const root = document.documentElement;
const data = JSON.parse(document.getElementById("graphs").textContent);
const timed = [];   // plots on the common time axis
const all = [];
let palette = {};
let zooming = false;

const readPalette = () => {
  const style = getComputedStyle(root);
  palette = {};
  for (const name of ["ink", "blue", "sky", "orange", "green", "vermillion", "purple", "grey"])
    palette[name] = style.getPropertyValue("--c-" + name).trim();
  for (const name of ["grid", "soft", "paper"]) palette[name + "*"] = style.getPropertyValue("--" + name).trim();
};

const element = (tag, properties, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

// Three significant digits, as everywhere else on the page.
const number = value => {
  if (value === null || value === undefined) return "\u2013";
  if (Number.isInteger(value) || Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
};
const withUnit = (value, unit) => value === null || value === undefined ? "\u2013" : number(value) + (unit ? (unit[0] === "/" ? "" : " ") + unit : "");
const share = x => String(Number((100 * (1 - 10 ** -x)).toPrecision(6))) + " %";
const seconds = x => String(Number(x.toPrecision(6))) + " s";

// A filled area is told from the next one by its hatching too, not by colour alone.
const hatch = (context, colour, kind, ratio) => {
  if (!kind) return colour;
  const size = 8 * ratio;
  const tile = element("canvas", {width: size, height: size});
  const pen = tile.getContext("2d");
  pen.fillStyle = colour;
  pen.fillRect(0, 0, size, size);
  pen.strokeStyle = palette["paper*"];
  pen.lineWidth = ratio;
  pen.globalAlpha = .5;
  pen.beginPath();
  const line = (x0, y0, x1, y1) => { pen.moveTo(x0 * size, y0 * size); pen.lineTo(x1 * size, y1 * size); };
  if (kind === 1) { line(-.5, .5, .5, -.5); line(0, 1, 1, 0); line(.5, 1.5, 1.5, .5); }
  if (kind === 2) { line(-.5, .5, .5, 1.5); line(0, 0, 1, 1); line(.5, -.5, 1.5, .5); }
  if (kind === 3) { line(.5, 0, .5, 1); }
  if (kind === 4) { line(0, .5, 1, .5); }
  if (kind === 5) { line(0, .5, 1, .5); line(.5, 0, .5, 1); }
  if (kind === 6) { line(0, 0, 1, 1); line(0, 1, 1, 0); }
  pen.stroke();
  return context.createPattern(tile, "repeat");
};

const followZoom = plot => {
  if (plot.root.parentElement) plot.root.parentElement.dataset.range = `${plot.scales.x.min} ${plot.scales.x.max}`;
  if (zooming || !timed.includes(plot)) return;
  zooming = true;
  const {min, max} = plot.scales.x;
  for (const other of timed)
    if (other !== plot) other.setScale("x", {min, max});
  zooming = false;
};

const span = (min, max) => {
  for (const plot of timed) plot.setScale("x", {min, max});
};

// Ticks of a logarithmic axis: powers of ten, with 2 and 5 between them where there is room.
const powers = (plot, axis, low, high) => {
  const found = [];
  const between = high / low < 1000 ? [1, 2, 5] : [1];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const digit of between) {
      const tick = Number((digit * 10 ** power).toPrecision(1));
      if (tick >= low && tick <= high) found.push(tick);
    }
  return found;
};
// Ticks of a distribution: 0, 50, 90, 95, 99 %, 99.9 % and so on.
const nines = [0, .5, .9, .95].map(x => -Math.log10(1 - x)).concat([2, 3, 4, 5, 6]);

const axes = (xText, yMore = {}, xMore = {}) => {
  const common = {stroke: () => palette.ink, grid: {stroke: () => palette["grid*"], width: 1}, ticks: {stroke: () => palette["grid*"], width: 1}, font: "12px system-ui, sans-serif"};
  return [
    {...common, values: (_, ticks) => ticks.map(xText), ...xMore},
    {...common, size: 64, labelSize: 22, labelFont: "12px system-ui, sans-serif", values: (_, ticks) => ticks.map(number), ...yMore},
  ];
};

// Arrow keys move the reading, + and - zoom about it, 0 and Escape show all.
const keys = (plot, panel, reading, describe) => event => {
  const x = plot.data[0];
  const {min, max} = plot.scales.x;
  let index = plot.cursor.idx;
  const steps = {ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10};
  if (event.key in steps || event.key === "Home" || event.key === "End") {
    const first = x.findIndex(value => value >= min), last = x.findLastIndex(value => value <= max);
    if (event.key === "Home") index = first;
    else if (event.key === "End") index = last;
    else index = index === null || index === undefined ? first : index + steps[event.key];
    index = Math.max(first, Math.min(index, last));
    plot.setCursor({left: plot.valToPos(x[index], "x"), top: plot.cursor.top > 0 ? plot.cursor.top : 5});
    reading.textContent = describe(index);
  } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    const height = plot.bbox.height / devicePixelRatio;
    const step = panel.rowHeight || height / 20;
    const top = Math.max(1, Math.min(height - 1, (plot.cursor.top > 0 ? plot.cursor.top : 1) + (event.key === "ArrowUp" ? -step : step)));
    plot.setCursor({left: plot.cursor.left > 0 ? plot.cursor.left : 1, top});
    reading.textContent = describe(plot.cursor.idx);
  } else if (event.key === "+" || event.key === "-") {
    const middle = index === null || index === undefined ? (min + max) / 2 : x[index];
    const factor = event.key === "+" ? .5 : 2;
    const low = Math.max(panel.from, middle - (middle - min) * factor), high = Math.min(panel.to, middle + (max - middle) * factor);
    if (high > low) plot.setScale("x", {min: low, max: high});
  } else if (event.key === "0" || event.key === "Escape") {
    plot.setScale("x", {min: panel.from, max: panel.to});
  } else return;
  event.preventDefault();
};

// A value holds until the next one: what is read at a place is the value that began there or before, not the nearest.
const latest = (plot, _, index, x) => {
  const at = plot.data[0][index];
  return index > 0 && at > x && plot.valToPos(at, "x") - plot.valToPos(x, "x") > 1 ? index - 1 : index;
};

const register = (plot, holder, height, time) => {
  all.push({plot, holder, height});
  if (time) timed.push(plot);
};

const stacked = (lines, shown) => {
  // The first line lies at the bottom. Higher ones are drawn first, each down to the axis, so lower ones cover them.
  const sums = [];
  let below = null;
  lines.forEach((line, place) => {
    if (line.dashed || !shown[place]) { sums.push(line.values); return; }
    below = line.values.map((value, at) => value === null && !below ? null : (value || 0) + (below && below[at] || 0));
    sums.push(below);
  });
  return sums;
};

const drawPanel = (figure, graph, panel, time) => {
  const holder = element("div", {className: "panel", tabIndex: 0});
  const reading = element("p", {className: "reading"});
  reading.setAttribute("aria-live", "polite");
  holder.setAttribute("role", "group");
  holder.setAttribute("aria-label", panel.label + ". " + graph.alt + " Arrow keys read values, + and - zoom, 0 shows all.");
  figure.append(holder, reading);
  const xText = time ? seconds : share;
  const from = 0, to = time ? data.to : panel.x[panel.x.length - 1];
  // Stacked lines are handed over top first.
  const order = panel.lines.map((_, place) => place);
  if (panel.stacked) order.sort((a, b) => (panel.lines[a].dashed - panel.lines[b].dashed) || b - a);
  const shown = panel.lines.map(() => true);
  const columns = () => {
    const values = panel.stacked ? stacked(panel.lines, shown) : panel.lines.map(line => line.values);
    const drawn = values[0] && panel.floor !== null ? values.map(all => all.map(value => value === null ? null : Math.max(value, panel.floor))) : values;
    return [panel.x, ...order.map(place => drawn[place])];
  };
  const series = order.map(place => {
    const line = panel.lines[place];
    return {
      label: line.label,
      stroke: () => palette[line.colour],
      width: line.filled ? 1 : 2,
      dash: line.dashed ? [8, 4] : undefined,
      fill: line.filled ? plot => hatch(plot.ctx, palette[line.colour], panel.stacked ? place : 0, devicePixelRatio) : undefined,
      paths: line.step ? uPlot.paths.stepped({align: 1}) : undefined,
      points: line.marked ? {show: true, size: 4, stroke: () => palette[line.colour], fill: () => palette[line.colour]} : {show: false},
      value: (_, value, __, at) => withUnit(at === null || at === undefined ? null : line.values[at], panel.unit),
    };
  });
  const plot = new uPlot({
    width: Math.max(figure.clientWidth, 200),
    height: panel.height,
    scales: {
      x: {time: false, range: (_, min, max) => [min ?? from, max ?? to]},
      y: panel.floor !== null ? {distr: 3, range: (_, min, max) => [min ?? panel.floor, Math.max((max ?? panel.floor) * 1.5, (min ?? panel.floor) * 10)]} : {range: (_, min, max) => [Math.min(0, min ?? 0), (max || 1) * 1.08]},
    },
    series: [{label: time ? "at" : "share", value: (_, value) => value === null || value === undefined ? "\u2013" : xText(value)}, ...series],
    axes: axes(xText, {
      label: panel.label,
      ...(panel.floor === null ? {} : {splits: powers, filter: (_, ticks) => ticks, values: (_, ticks) => ticks.map(tick => tick === panel.floor && tick === .1 ? "0" : number(tick))}),
    }, time ? {} : {splits: () => nines.filter(x => x <= to), size: 40}),
    cursor: {...(panel.lines.some(line => line.step) ? {dataIdx: latest} : {}), sync: time ? {key: "time"} : undefined, drag: {x: true, y: false}},
    hooks: {
      setScale: [(self, key) => key === "x" && followZoom(self)],
      setSeries: [(self, place, options) => {
        if (!panel.stacked || place === null || options.show === undefined || options.show === null) return;
        shown[order[place - 1]] = options.show;
        self.setData(columns(), false);
        self.redraw();
      }],
    },
  }, columns(), holder);
  if (time) plot.over.addEventListener("dblclick", () => span(0, data.to));
  plot.setScale("x", {min: from, max: to});
  const describe = at => at === null || at === undefined ? "" :
    xText(panel.x[at]) + ": " + panel.lines.map(line => line.label + " " + withUnit(line.values[at], panel.unit)).join(", ");
  holder.addEventListener("keydown", keys(plot, {from, to}, reading, describe));
  register(plot, holder, panel.height, time);
  return plot;
};

const stateColours = () => [palette["paper*"], palette.green, palette.blue, palette.orange];

const drawMap = (figure, graph) => {
  const map = graph.map, rows = map.cells.length, columns = map.cells[0].length;
  const width = (map.to - map.from) / columns;
  const x = Array.from({length: columns}, (_, at) => map.from + at * width);
  const key = element("div", {className: "states"});
  figure.append(key);
  const swatches = map.states.map((state, place) => {
    const swatch = element("i");
    key.append(element("span", {}, swatch, state));
    return () => { swatch.style.background = stateColours()[place]; };
  });
  key.append(element("span", {}, "\u2502 tick: a data connection"));
  const recolour = () => swatches.forEach(paint => paint());
  recolour();
  const holder = element("div", {className: "panel", tabIndex: 0});
  const reading = element("p", {className: "reading"});
  reading.setAttribute("aria-live", "polite");
  holder.setAttribute("role", "group");
  holder.setAttribute("aria-label", graph.alt + " Arrow keys read cells, + and - zoom, 0 shows all.");
  figure.append(holder, reading);
  const height = Math.max(160, Math.min(620, rows * 14 + 60));
  const describe = (self, at) => {
    if (at === null || at === undefined || self.cursor.top < 0) return "";
    const row = Math.max(0, Math.min(rows - 1, Math.floor(self.posToVal(self.cursor.top, "y"))));
    const cell = Number(map.cells[row][Math.min(at, columns - 1)]);
    return `port ${map.labels[row]}, ${seconds(x[at])}: ${map.states[cell % 4]}${cell >= 4 ? ", a data connection" : ""}`;
  };
  const paint = self => {
    const {ctx} = self, colours = stateColours(), {min, max} = self.scales.x;
    const first = Math.max(0, Math.floor((min - map.from) / width)), last = Math.min(columns - 1, Math.floor((max - map.from) / width));
    const left = Array.from({length: last - first + 2}, (_, at) => Math.round(self.valToPos(map.from + (first + at) * width, "x", true)));
    ctx.save();
    ctx.beginPath();
    ctx.rect(self.bbox.left, self.bbox.top, self.bbox.width, self.bbox.height);
    ctx.clip();
    for (let row = 0; row < rows; row++) {
      const top = Math.round(self.valToPos(row, "y", true)), bottom = Math.round(self.valToPos(row + 1, "y", true));
      const tall = Math.max(1, bottom - top - (bottom - top > 4 ? 1 : 0)), cells = map.cells[row];
      for (let at = first; at <= last;) {
        const state = Number(cells[at]) % 4;
        let end = at + 1;
        while (end <= last && Number(cells[end]) % 4 === state) end++;
        if (state) {
          ctx.fillStyle = colours[state];
          ctx.fillRect(left[at - first], top, Math.max(1, left[end - first] - left[at - first]), tall);
        }
        at = end;
      }
      ctx.fillStyle = palette.ink;
      for (let at = first; at <= last; at++)
        if (cells[at] >= "4") ctx.fillRect(left[at - first], top, Math.max(1, devicePixelRatio), Math.max(1, Math.round(tall * .45)));
    }
    ctx.restore();
  };
  const plot = new uPlot({
    width: Math.max(figure.clientWidth, 200),
    height,
    scales: {x: {time: false, range: (_, min, max) => [min ?? 0, max ?? data.to]}, y: {dir: -1, range: [0, rows]}},
    series: [
      {label: "at", value: (_, value) => value === null || value === undefined ? "\u2013" : seconds(value)},
      {label: "cell", show: true, paths: () => null, points: {show: false}, value: (self, _, __, at) => describe(self, at) || "\u2013"},
    ],
    axes: axes(seconds, {
      label: "port", grid: {show: false},
      splits: () => Array.from({length: rows}, (_, row) => row + .5).filter((_, row) => row % Math.ceil(rows / 20) === 0),
      values: (_, ticks) => ticks.map(tick => map.labels[Math.floor(tick)].split(" ")[0]),
    }),
    cursor: {dataIdx: latest, sync: {key: "time", scales: ["x", null]}, drag: {x: true, y: false}},
    hooks: {draw: [paint], setScale: [(self, scale) => scale === "x" && followZoom(self)]},
  }, [x, x.map(() => null)], holder);
  plot.over.addEventListener("dblclick", () => span(0, data.to));
  plot.setScale("x", {min: 0, max: data.to});
  holder.addEventListener("keydown", keys(plot, {from: 0, to: data.to, rowHeight: (height - 50) / rows}, reading, at => describe(plot, at)));
  register(plot, holder, height, true);
  return recolour;
};

const recolours = [readPalette];
const drop = plot => {
  if (timed.includes(plot)) timed.splice(timed.indexOf(plot), 1);
  all.splice(all.findIndex(entry => entry.plot === plot), 1);
  plot.destroy();
};

const drawGraph = graph => {
  const figure = document.getElementById("figure-" + graph.name);
  const live = figure.querySelector(".live");
  figure.classList.add("drawn");
  if (graph.map) { recolours.push(drawMap(live, graph)); return; }
  const place = element("div");
  let plots = [];
  const show = number => {
    const range = timed.length ? {...timed[0].scales.x} : null;
    plots.forEach(drop);
    place.replaceChildren();
    plots = graph.views[number].panels.map(panel => drawPanel(place, graph, panel, graph.axis === "time"));
    if (range && graph.axis === "time" && range.min !== null) plots.forEach(plot => plot.setScale("x", {min: range.min, max: range.max}));
  };
  if (graph.views.length > 1) {
    const menu = element("select");
    graph.views.forEach((view, number) => menu.append(element("option", {value: number, textContent: view.name})));
    menu.addEventListener("change", () => show(Number(menu.value)));
    live.append(element("label", {}, live.dataset.menu + ": ", menu));
  }
  live.append(place);
  show(0);
};

readPalette();
root.classList.add("scripted");
for (const graph of data.graphs) {
  try {
    drawGraph(graph);
  } catch (problem) {
    document.getElementById("figure-" + graph.name).classList.remove("drawn");
    console.error(graph.name, problem);
  }
}
const redraw = () => {
  for (const recolour of recolours) recolour();
  for (const {plot} of all) plot.redraw();
};
for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", redraw);
let resizing = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => {
    for (const {plot, holder, height} of all) if (holder.clientWidth) plot.setSize({width: holder.clientWidth, height});
  });
});
root.dataset.drawn = String(all.length);
})();
