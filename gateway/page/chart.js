// Charts of the last minutes, drawn by hand into one SVG each. Attributes are numbers and words of
// our own; no style attributes, which the page's policy forbids.

const SVG = "http://www.w3.org/2000/svg";
const PLOT_WIDTH = 600;
const PLOT_HEIGHT = 120;
const SPAN_LEAST_S = 60; // of a page just opened

function svg(name, attributes) {
	const element = document.createElementNS(SVG, name);
	for (const [key, value] of Object.entries(attributes))
		element.setAttribute(key, value);
	return element;
}

// 1, 2 or 5 times a power of ten, at least `value`.
function roundUp(value) {
	if (!(value > 0))
		return 1;
	const power = 10 ** Math.floor(Math.log10(value));
	return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= value * 0.9999);
}

// The last minutes that are known of, up to the window.
function axesOf(points) {
	const times = points.map((point) => point.at);
	const values = points.map((point) => point.value).filter(Number.isFinite);
	const end = times.length ? Math.max(...times) : 0;
	const known = times.length ? end - Math.min(...times) : 0;
	const minutes = Math.ceil(Math.max(SPAN_LEAST_S, Math.min(WINDOW_S, known)) / 60);
	return { end, span: minutes * 60, top: roundUp(Math.max(0, ...values)), empty: values.length === 0 };
}

function place(point, axes) {
	const x = PLOT_WIDTH * (1 - (axes.end - point.at) / axes.span);
	const y = PLOT_HEIGHT * (1 - Math.min(1, point.value / axes.top));
	return x.toFixed(1) + "," + y.toFixed(1);
}

// Runs of points without a gap between them.
function runsOf(points) {
	const runs = [[]];
	for (const point of points) {
		if (Number.isFinite(point.value))
			runs[runs.length - 1].push(point);
		else if (runs[runs.length - 1].length)
			runs.push([]);
	}
	return runs.filter((run) => run.length > 1);
}

function drawCurve(drawing, line, axes) {
	for (const run of runsOf(line.points)) {
		const path = run.map((point) => place(point, axes)).join(" ");
		if (line.filled) {
			const x = (point) => place({ at: point.at, value: 0 }, axes);
			drawing.append(svg("polygon", { class: "area " + line.kind,
				points: x(run[0]) + " " + path + " " + x(run[run.length - 1]) }));
		}
		drawing.append(svg("polyline", { class: "curve " + line.kind, points: path }));
	}
}

function frame(plot) {
	if (plot.firstChild)
		return;
	const scale = document.createElement("span");
	const times = document.createElement("div");
	const from = document.createElement("span");
	const to = document.createElement("span");
	scale.className = "scale";
	times.className = "times";
	to.textContent = "now";
	times.append(from, to);
	plot.append(svg("svg", { viewBox: `0 0 ${PLOT_WIDTH} ${PLOT_HEIGHT}`, preserveAspectRatio: "none", role: "img" }),
		scale, times);
}

// `lines`: {kind, filled, points}; `label` says in words what the curves show.
function drawChart(plot, lines, textOf, label) {
	frame(plot);
	const [drawing, scale, times] = plot.children;
	const axes = axesOf(lines.flatMap((line) => line.points));
	drawing.replaceChildren();
	for (const share of [0, 0.5])
		drawing.append(svg("line", { class: "grid", x1: 0, x2: PLOT_WIDTH, y1: PLOT_HEIGHT * share, y2: PLOT_HEIGHT * share }));
	for (const line of lines)
		drawCurve(drawing, line, axes);
	drawing.setAttribute("aria-label", label);
	scale.textContent = axes.empty ? "" : textOf(axes.top);
	times.firstChild.textContent = axes.span / 60 + " min ago";
}

function swatch(kind) {
	const drawing = svg("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" });
	drawing.append(svg("line", { class: "curve " + kind, x1: 0, x2: 24, y1: 4, y2: 4 }));
	return drawing;
}

function bar(share) {
	const drawing = svg("svg", { class: share < 0.2 ? "bar low" : "bar", "aria-hidden": "true" });
	drawing.append(svg("rect", { height: "100%", rx: 4, width: (100 * Math.max(0, Math.min(1, share))).toFixed(1) + "%" }));
	return drawing;
}
