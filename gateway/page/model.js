"use strict";
// What the figures mean: pure functions over answers of /status. The page is one script: model.js,
// chart.js, view.js and page.js, in this order. Names and values from the network are data here,
// and in view.js become text, never markup.

const WINDOW_S = 300; // what the charts show
const RECENT_S = 10; // what "now" is
const GRPC_FAILURES = new Set(["2", "4", "13", "14", "15"]);

function seriesOf(status, name) {
	return status.series[name] || [];
}

function sumOf(list, pick) {
	return list.reduce((sum, one) => sum + pick(one), 0);
}

function addBuckets(total, buckets) {
	return buckets.map((count, i) => count + (total[i] || 0));
}

function isFailure(protocol, code) {
	return protocol === "grpc" ? GRPC_FAILURES.has(code) : /^5\d\d$/.test(code);
}

// A backend failed where it gave no answer (a word says why), or one that is its own fault. A caller
// who left or was refused half-way is not the backend's failure.
function isBackendFailure(code) {
	return !/^[1-4]\d\d$/.test(code) && code !== "client_cancelled" && code !== "other";
}

function countBy(list, key) {
	const counts = new Map();
	for (const one of list)
		counts.set(one[key], (counts.get(one[key]) || 0) + one.value);
	return counts;
}

function endpointKey(backend, endpoint) {
	return backend + "\n" + endpoint;
}

function sampleEndpoints(status) {
	const endpoints = new Map();
	for (const one of seriesOf(status, "upstream_requests_total")) {
		const key = endpointKey(one.backend, one.endpoint);
		const seen = endpoints.get(key) || { requests: 0, failures: 0 };
		seen.requests += one.value;
		seen.failures += isBackendFailure(one.code) ? one.value : 0;
		endpoints.set(key, seen);
	}
	return endpoints;
}

// One answer of /status, reduced to what is compared over time. `at` in seconds, of any clock.
function sampleOf(status, at) {
	const requests = seriesOf(status, "requests_total");
	const backends = new Map();
	for (const one of seriesOf(status, "upstream_duration_seconds"))
		backends.set(one.backend, one.buckets);
	return {
		at,
		protocols: countBy(requests, "protocol"),
		requests: sumOf(requests, (one) => one.value),
		failures: sumOf(requests.filter((one) => isFailure(one.protocol, one.code)), (one) => one.value),
		reasons: countBy(seriesOf(status, "rejections_total"), "reason"),
		refused: sumOf(seriesOf(status, "rejections_total"), (one) => one.value),
		buckets: seriesOf(status, "request_duration_seconds")
			.reduce((total, one) => addBuckets(total, one.buckets), []),
		endpoints: sampleEndpoints(status),
		backends,
	};
}

// Keeps the samples of the window. A gateway that was started anew begins a new history.
function remember(history, status, at) {
	if (history.started !== status.started && Math.abs(Date.parse(status.started) - Date.parse(history.started)) > 1500)
		history.samples = [];
	history.started = history.samples.length ? history.started : status.started;
	history.samples.push(sampleOf(status, at));
	while (history.samples[0].at < at - WINDOW_S)
		history.samples.shift();
}

// The newest sample and the one to compare it with: the first of the last `seconds`.
function recentPair(samples, seconds) {
	const last = samples[samples.length - 1];
	const first = samples.find((one) => one.at >= last.at - seconds);
	return first === last ? null : { first, last, seconds: last.at - first.at };
}

function rate(pair, pick) {
	return pair ? Math.max(0, pick(pair.last) - pick(pair.first)) / pair.seconds : NaN;
}

function mapRate(pair, field, key) {
	return rate(pair, (sample) => sample[field].get(key) || 0);
}

function bucketsBetween(first, last) {
	return last.map((count, i) => Math.max(0, count - (first[i] || 0)));
}

// As histogram_quantile of Prometheus: linear within a bucket; Infinity beyond the last bound.
function quantile(share, buckets, uppers) {
	const total = buckets.reduce((sum, count) => sum + count, 0);
	if (!total)
		return NaN;
	let before = 0;
	for (let i = 0; i < buckets.length; i++) {
		if (before + buckets[i] >= share * total && buckets[i]) {
			if (i >= uppers.length)
				return Infinity;
			const lower = i ? uppers[i - 1] : 0;
			return lower + (uppers[i] - lower) * (share * total - before) / buckets[i];
		}
		before += buckets[i];
	}
	return Infinity;
}

function quantiles(pair, pick, uppers) {
	if (!pair)
		return { p50: NaN, p90: NaN, p99: NaN };
	const buckets = bucketsBetween(pick(pair.first) || [], pick(pair.last) || []);
	return {
		p50: quantile(0.5, buckets, uppers), p90: quantile(0.9, buckets, uppers), p99: quantile(0.99, buckets, uppers),
	};
}

// Each sample against the one a few seconds before it, as points of a chart. Where the page was
// asleep there is a gap.
function pointsOf(samples, value) {
	const points = [];
	for (let i = 1; i < samples.length; i++) {
		const last = samples[i];
		let k = i - 1;
		while (k > 0 && last.at - samples[k - 1].at <= RECENT_S / 2)
			k--;
		const gap = last.at - samples[i - 1].at > RECENT_S;
		points.push({ at: last.at, value: gap ? NaN : value({ first: samples[k], last, seconds: last.at - samples[k].at }) });
	}
	return points;
}

// --- figures as text

function grouped(number) {
	return String(Math.round(number)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

function textOfRate(value) {
	if (!Number.isFinite(value))
		return "–";
	return value === 0 ? "0" : value < 10 ? value.toFixed(value < 0.1 ? 2 : 1) : grouped(value);
}

function textOfMark(value) {
	return value ? (value < 10 ? String(Number(value.toPrecision(2))) : grouped(value)) + "/s" : "0";
}

function textOfDecade(seconds) {
	return seconds < 1 ? Number((seconds * 1000).toPrecision(1)) + " ms" : grouped(seconds) + " s";
}

function textOfSeconds(seconds) {
	if (seconds === Infinity)
		return "> 10 s";
	if (!Number.isFinite(seconds))
		return "–";
	if (seconds >= 1)
		return seconds.toFixed(1) + " s";
	const ms = seconds * 1000;
	return (ms < 10 ? ms.toFixed(1) : Math.round(ms)) + " ms";
}

function textOfShare(share) {
	if (!Number.isFinite(share) || share === 0)
		return share === 0 ? "0 %" : "–";
	return share < 0.001 ? "< 0.1 %" : (100 * share).toFixed(share < 0.1 ? 1 : 0) + " %";
}

function textOfBytes(bytes) {
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let unit = 0;
	for (; bytes >= 1024 && unit < units.length - 1; unit++)
		bytes /= 1024;
	return (bytes < 10 && unit ? bytes.toFixed(1) : Math.round(bytes)) + " " + units[unit];
}

function textOfSpan(seconds) {
	const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
	const i = Math.max(0, parts.findIndex(([size]) => seconds >= size));
	const at = seconds < 1 ? 3 : i;
	const whole = Math.floor(seconds / parts[at][0]);
	const rest = at < 2 ? Math.floor((seconds % parts[at][0]) / parts[at + 1][0]) : 0;
	return whole + " " + parts[at][1] + (rest ? " " + rest + " " + parts[at + 1][1] : "");
}

function textOfClock(text) {
	const time = new Date(text);
	const two = (number) => String(number).padStart(2, "0");
	return Number.isNaN(time.getTime()) ? "–"
		: two(time.getHours()) + ":" + two(time.getMinutes()) + ":" + two(time.getSeconds());
}

// Colour and words together.
function urgencyOf(days, notAfter, now) {
	if (Date.parse(notAfter) <= now)
		return { level: "bad", text: "expired" };
	if (days < 1)
		return { level: "bad", text: "less than a day: renew now" };
	const text = days === 1 ? "1 day" : grouped(days) + " days";
	if (days < 7)
		return { level: "bad", text: text + ": renew now" };
	return days < 30 ? { level: "warn", text: text + ": renew soon" } : { level: "good", text };
}

// An endpoint that is ejected, or that checks find unwell, gets no requests from some workers. Null: it does from all.
function standingOf(takers, all) {
	if (!(takers < all))
		return null;
	return takers > 0 ? { level: "warn", text: "out for " + (all - takers) + " of " + all } : { level: "bad", text: "out" };
}

function healthOf(requests, failures) {
	if (!Number.isFinite(requests) || requests === 0)
		return { level: "soft", text: "no traffic" };
	if (failures >= requests / 2)
		return { level: "bad", text: "failing" };
	return failures ? { level: "warn", text: "some failures" } : { level: "good", text: "answering" };
}
