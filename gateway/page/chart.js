// Charts of the last minutes, drawn by hand into one SVG each. Attributes are numbers and words of
// our own; no style attributes, which the page's policy forbids.

const SVG = "http://www.w3.org/2000/svg";
const PLOT_WIDTH = 600;
const PLOT_HEIGHT = 120;

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

function place(point, end, top) {
	const x = PLOT_WIDTH * (1 - (end - point.at) / WINDOW_S);
	const y = PLOT_HEIGHT * (1 - Math.min(1, point.value / top));
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

function drawCurve(drawing, line, end, top) {
	for (const run of runsOf(line.points)) {
		const path = run.map((point) => place(point, end, top)).join(" ");
		if (line.filled) {
			const x = (point) => place({ at: point.at, value: 0 }, end, top);
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
	from.textContent = WINDOW_S / 60 + " min ago";
	to.textContent = "now";
	times.append(from, to);
	plot.append(svg("svg", { viewBox: `0 0 ${PLOT_WIDTH} ${PLOT_HEIGHT}`, preserveAspectRatio: "none", role: "img" }),
		scale, times);
}

// `lines`: {kind, filled, points}; `label` says in words what the curves show.
function drawChart(plot, lines, textOf, label) {
	frame(plot);
	const [drawing, scale] = plot.children;
	const values = lines.flatMap((line) => line.points.map((point) => point.value)).filter(Number.isFinite);
	const top = roundUp(Math.max(0, ...values));
	const end = Math.max(0, ...lines.flatMap((line) => line.points.map((point) => point.at)));
	drawing.replaceChildren();
	for (const share of [0, 0.5])
		drawing.append(svg("line", { class: "grid", x1: 0, x2: PLOT_WIDTH, y1: PLOT_HEIGHT * share, y2: PLOT_HEIGHT * share }));
	for (const line of lines)
		drawCurve(drawing, line, end, top);
	drawing.setAttribute("aria-label", label);
	scale.textContent = values.length ? textOf(top) : "";
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
