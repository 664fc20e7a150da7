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

// A round number, at least `value`.
function roundUp(value) {
	if (!(value > 0))
		return 1;
	const power = 10 ** Math.floor(Math.log10(value));
	return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((top) => top >= value * 0.9999);
}

// From 0, with a line at the half.
function evenScale(values) {
	const top = roundUp(Math.max(0, ...values));
	return { marks: [top, top / 2, 0], height: (value) => value / top };
}

// Powers of ten: what is fast and what is slow both have room.
function decadeScale(values) {
	const known = values.filter((value) => value > 0);
	const low = Math.floor(Math.log10(known.length ? Math.min(...known) : 0.001));
	const high = Math.max(low + 2, Math.ceil(Math.log10(known.length ? Math.max(...known) : 0.1)));
	const marks = [];
	for (let power = high; power >= low; power--)
		marks.push(10 ** power);
	return { marks, height: (value) => (value > 0 ? (Math.log10(value) - low) / (high - low) : 0) };
}

// The last minutes that are known of, up to the window.
function axesOf(points, scaleOf) {
	const times = points.map((point) => point.at);
	const values = points.map((point) => point.value).filter(Number.isFinite);
	const end = times.length ? Math.max(...times) : 0;
	const known = times.length ? end - Math.min(...times) : 0;
	const minutes = Math.ceil(Math.max(SPAN_LEAST_S, Math.min(WINDOW_S, known)) / 60);
	return { end, span: minutes * 60, ...scaleOf(values) };
}

function place(point, axes) {
	const x = PLOT_WIDTH * (1 - (axes.end - point.at) / axes.span);
	const y = PLOT_HEIGHT * (1 - Math.max(0, Math.min(1, axes.height(point.value))));
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
		if (line.filled)
			drawing.append(svg("polygon", { class: "area " + line.kind,
				points: place({ at: run[0].at, value: 0 }, axes) + " " + path + " " + place({ at: run[run.length - 1].at, value: 0 }, axes) }));
		drawing.append(svg("polyline", { class: "curve " + line.kind, points: path }));
	}
}

function frame(plot) {
	if (plot.firstChild)
		return;
	const scale = document.createElement("div");
	const times = document.createElement("div");
	const to = document.createElement("span");
	scale.className = "scale";
	times.className = "times";
	to.textContent = "now";
	times.append(document.createElement("span"), to);
	plot.append(svg("svg", { viewBox: `0 0 ${PLOT_WIDTH} ${PLOT_HEIGHT}`, preserveAspectRatio: "none", role: "img" }),
		scale, times);
}

function drawGrid(drawing, scale, marks, textOf) {
	drawing.replaceChildren(...marks.slice(0, -1).map((mark, i) => {
		const y = PLOT_HEIGHT * i / (marks.length - 1);
		return svg("line", { class: "grid", x1: 0, x2: PLOT_WIDTH, y1: y, y2: y });
	}));
	while (scale.children.length < marks.length)
		scale.append(document.createElement("span"));
	while (scale.children.length > marks.length)
		scale.lastChild.remove();
	marks.forEach((mark, i) => { scale.children[i].textContent = textOf(mark); });
}

// `lines`: {kind, filled, points}; `scaleOf` makes the scale of all their values; `label` says in
// words what the curves show.
function drawChart(plot, lines, scaleOf, textOf, label) {
	frame(plot);
	const [drawing, scale, times] = plot.children;
	const axes = axesOf(lines.flatMap((line) => line.points), scaleOf);
	drawGrid(drawing, scale, axes.marks, textOf);
	for (const line of lines)
		drawCurve(drawing, line, axes);
	drawing.setAttribute("aria-label", label);
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
