// The answers as elements. All text goes in through textContent; nodes are kept and changed in
// place, so that what a reader opened or selected stays as it is.

function byId(id) {
	return document.getElementById(id);
}

function make(name, className, text) {
	const element = document.createElement(name);
	if (className)
		element.className = className;
	if (text !== undefined)
		element.textContent = text;
	return element;
}

function say(id, text) {
	const element = byId(id);
	if (element.textContent !== text)
		element.textContent = text;
}

// Children of `parent` become one for each item, in order, each made once.
function keep(parent, items, keyOf, create, update) {
	const known = parent.kept || new Map();
	const next = new Map();
	items.forEach((item, i) => {
		const key = keyOf(item);
		const node = known.get(key) || create(item);
		if (update)
			update(node, item);
		if (parent.children[i] !== node)
			parent.insertBefore(node, parent.children[i] || null);
		next.set(key, node);
	});
	while (parent.children.length > items.length)
		parent.lastChild.remove();
	parent.kept = next;
}

// A row of a table that a phone shows as a card: every cell knows its column's name.
function tableRow(table, headClass) {
	const row = make("tr");
	row.setAttribute("role", "row");
	const columns = byId(table).closest("table").querySelectorAll("thead th");
	columns.forEach((column, i) => {
		const cell = make(i ? "td" : "th", i ? column.className : headClass);
		cell.setAttribute("role", i ? "cell" : "rowheader");
		if (i)
			cell.setAttribute("data-label", column.textContent);
		else
			cell.setAttribute("scope", "row");
		row.append(cell);
	});
	return row;
}

function fill(row, values) {
	values.forEach((value, i) => {
		const cell = row.children[i];
		if (value instanceof Node)
			cell.replaceChildren(value);
		else if (cell.textContent !== value)
			cell.textContent = value;
	});
}

function fillTable(id, items, keyOf, valuesOf, headClass) {
	byId(id + "-none").hidden = items.length > 0;
	byId(id).closest("table").hidden = items.length === 0;
	keep(byId(id), items, keyOf, () => tableRow(id, headClass), (row, item) => fill(row, valuesOf(item)));
}

function word(verdict) {
	return make("span", "word is-" + verdict.level, verdict.text);
}

function fillKey(id, entries) {
	keep(byId(id), entries, (entry) => entry.name, (entry) => {
		const item = make("li");
		item.append(swatch(entry.kind), make("span", "", entry.name), make("b"));
		return item;
	}, (item, entry) => { item.lastChild.textContent = entry.text; });
}

// --- the head

function showHead(status) {
	byId("state").dataset.state = status.state;
	say("state-word", status.state);
	document.title = "tollgate: " + status.state;
	byId("facts").hidden = false;
	say("version", status.version);
	say("uptime", textOfSpan(status.uptime_seconds));
	say("generation", "no. " + grouped(status.generation)
		+ (status.reload.success && status.reload.at ? ", loaded " + textOfClock(status.reload.at) : ""));
	say("connections", grouped(sumOf(seriesOf(status, "connections_active"), (one) => one.value)));
	const ceiling = status.memory.ceiling_bytes;
	say("memory", textOfBytes(status.memory.resident_bytes) + (ceiling ? " of " + textOfBytes(ceiling) : ""));
}

// What a person woken at night has to see first.
function showAlarm(status) {
	const lines = status.reload.problems.slice();
	let title = "";
	if (!status.reload.success)
		title = "The last reload was refused"
			+ (status.reload.at ? " at " + textOfClock(status.reload.at) : "") + "; the configuration before it is in force";
	else if (status.audit.failing)
		title = "The audit log cannot be written";
	byId("alarm").hidden = title === "";
	say("alarm-title", title);
	keep(byId("alarm-list"), lines.slice(0, 20), (line) => line, (line) => make("li", "", line));
}

// --- the charts

// Each protocol stands on those below it, so that the top line is the whole.
function stackedLines(samples, kinds) {
	const protocols = Object.keys(kinds);
	return protocols.map((protocol, i) => ({ kind: kinds[protocol], filled: true,
		points: pointsOf(samples, (step) => sumOf(protocols.slice(0, i + 1), (one) => mapRate(step, "protocols", one))) })).reverse();
}

function showTraffic(samples, pair) {
	const kinds = { http1: "one", http2: "two", grpc: "three" };
	const names = { http1: "HTTP/1.1", http2: "HTTP/2", grpc: "gRPC" };
	const all = rate(pair, (sample) => sample.requests);
	const failed = rate(pair, (sample) => sample.failures);
	say("traffic-now", textOfRate(all));
	say("traffic-aside", all ? textOfShare(failed / all) + " failed" : "no requests");
	byId("traffic-aside").dataset.level = failed / all >= 0.05 ? "bad" : failed / all >= 0.01 ? "warn" : "";
	drawChart(byId("traffic-plot"), stackedLines(samples, kinds), evenScale, textOfMark,
		"Requests a second by protocol over the last minutes, now " + textOfRate(all));
	fillKey("traffic-key", Object.keys(kinds).map((protocol) => ({ name: names[protocol], kind: kinds[protocol],
		text: textOfRate(mapRate(pair, "protocols", protocol)) })));
}

function showLatency(samples, pair, uppers) {
	const kinds = { p50: "two", p90: "one", p99: "three" };
	const now = quantiles(pair, (sample) => sample.buckets, uppers);
	const cap = (seconds) => (seconds === Infinity ? uppers[uppers.length - 1] : seconds);
	const steps = pointsOf(samples, (step) => quantiles(step, (sample) => sample.buckets, uppers));
	const lines = Object.keys(kinds).map((name) => ({ kind: kinds[name], filled: false,
		points: steps.map((step) => ({ at: step.at, value: cap(step.value[name]) })) }));
	say("latency-now", textOfSeconds(now.p99));
	say("latency-aside", Number.isNaN(now.p50) ? "no requests" : "half of all within " + textOfSeconds(now.p50));
	drawChart(byId("latency-plot"), lines, decadeScale, textOfDecade,
		"Latency over the last minutes, now p50 " + textOfSeconds(now.p50) + ", p99 " + textOfSeconds(now.p99));
	fillKey("latency-key", Object.keys(kinds).map((name) => ({ name, kind: kinds[name], text: textOfSeconds(now[name]) })));
}

function showRefusals(samples, pair) {
	const now = rate(pair, (sample) => sample.refused);
	const last = samples[samples.length - 1];
	say("refusals-now", textOfRate(now));
	say("refusals-aside", grouped(last.refused) + " since the start");
	drawChart(byId("refusals-plot"), [{ kind: "bad", filled: true, points: pointsOf(samples, (step) => rate(step, (one) => one.refused)) }],
		evenScale, textOfMark, "Refusals a second over the last minutes, now " + textOfRate(now));
	const reasons = [...last.reasons].sort((a, b) =>
		mapRate(pair, "reasons", b[0]) - mapRate(pair, "reasons", a[0]) || b[1] - a[1]);
	fillTable("reasons", reasons, (one) => one[0],
		(one) => [one[0], textOfRate(mapRate(pair, "reasons", one[0])), grouped(one[1])], "mono");
}

// --- the tables

function backendHead(backend) {
	const row = make("tr", "group");
	const cell = make("th", "", backend.name);
	row.setAttribute("role", "row");
	cell.setAttribute("role", "rowheader");
	cell.setAttribute("scope", "rowgroup");
	cell.colSpan = 6;
	cell.append(make("small"));
	row.append(cell);
	return row;
}

function endpointValues(one, status, minute) {
	const seen = (sample) => sample.endpoints.get(one.key) || { requests: 0, failures: 0 };
	const requests = rate(minute, (sample) => seen(sample).requests);
	const failures = rate(minute, (sample) => seen(sample).failures);
	const times = quantiles(minute, (sample) => sample.backends.get(one.backend), status.bucket_upper_seconds.map(Number));
	const own = (name) => seriesOf(status, name).filter((series) => series.backend === one.backend && series.endpoint === one.endpoint);
	const open = sumOf(own("upstream_connections_active"), (series) => series.value);
	const standing = standingOf(own("upstream_endpoint_healthy").map((series) => series.value)[0], status.workers * one.addresses);
	const all = seen(minute ? minute.last : { endpoints: new Map() });
	return [one.endpoint, word(standing || healthOf(requests, failures)), textOfRate(requests),
		grouped(all.failures) + " of " + grouped(all.requests), grouped(open),
		Number.isNaN(times.p50) ? "–" : textOfSeconds(times.p50) + " · " + textOfSeconds(times.p99)];
}

function showBackends(status, samples) {
	const minute = recentPair(samples, 60);
	const rows = status.backends.flatMap((backend) => [{ head: backend, key: backend.name },
		...[...new Set(backend.endpoints)].map((endpoint) => ({ backend: backend.name, endpoint, key: endpointKey(backend.name, endpoint),
			addresses: backend.endpoints.filter((other) => other === endpoint).length }))]);
	byId("backends-none").hidden = rows.length > 0;
	byId("backends").closest("table").hidden = rows.length === 0;
	keep(byId("backends"), rows, (one) => one.key,
		(one) => (one.head ? backendHead(one.head) : tableRow("backends", "mono")),
		(row, one) => {
			if (one.head)
				row.querySelector("small").textContent = (one.head.protocol === "h2" ? "HTTP/2" : "HTTP/1.1") + (one.head.tls ? " over TLS" : "");
			else
				fill(row, endpointValues(one, status, minute));
		});
}

function fillCell(share) {
	const cell = make("span", "word");
	cell.append(bar(share), document.createTextNode(Math.round(100 * share) + " %"));
	return cell;
}

function textOfLimitRate(limit) {
	const perSecond = limit.rate_per_second;
	const [number, unit] = perSecond >= 1 ? [perSecond, "/s"] : perSecond * 60 >= 1 ? [perSecond * 60, "/min"] : [perSecond * 3600, "/h"];
	return (number >= 1000 ? grouped(number) : String(Number(number.toPrecision(3)))) + unit + ", burst " + grouped(limit.burst);
}

function showLimits(limits) {
	limits.sort((a, b) => b.refused - a.refused || (a.limit < b.limit ? -1 : 1));
	fillTable("limits", limits, (limit) => limit.limit, (limit) => [limit.limit,
		limit.store === "redis" ? "in Redis" : fillCell(limit.lowest_fill / limit.burst),
		textOfLimitRate(limit), limit.max_keys > 1 ? grouped(limit.keys_used) + " of " + grouped(limit.max_keys) : "–",
		grouped(limit.granted), limit.refused ? word({ level: "bad", text: grouped(limit.refused) }) : "0"], "mono");
}

function showCertificates(listeners, now) {
	const roles = { certificate: "served", trusted_ca: "trusted CA" };
	const all = Object.entries(listeners).flatMap(([listener, certificates]) =>
		certificates.map((one, i) => ({ ...one, listener, key: listener + "\n" + one.sha256 + i })));
	all.sort((a, b) => Date.parse(a.not_after) - Date.parse(b.not_after));
	fillTable("certificates", all, (one) => one.key, (one) => [one.subject, roles[one.role] || one.role, one.listener,
		one.not_after.slice(0, 10), word(urgencyOf(one.days_left, one.not_after, now))], "mono");
}

// --- audit records

function callerOf(record) {
	if (!record.reason)
		return "";
	const client = record.client || {};
	const certificate = client.certificate || {};
	const names = certificate.uri_sans || [];
	const who = record.principal || (names.length || certificate.subject ? "claims " + (names[0] || certificate.subject) : "no certificate");
	return who + (client.address ? ", " + client.address : "");
}

function callOf(record) {
	const request = record.request || {};
	return record.rpc_method || [request.method, request.path].filter(Boolean).join(" ");
}

function auditItem(record) {
	const item = make("li");
	const details = make("details");
	const summary = make("summary");
	const time = make("time", "", textOfClock(record.timestamp));
	const line = make("span");
	time.setAttribute("datetime", record.timestamp);
	line.append(make("span", "why", (record.event === "rejected" ? record.reason : record.event) + (record.count > 1 ? " ×" + grouped(record.count) : "")), " ",
		make("span", "what", callOf(record)), " ", make("span", "who", callerOf(record)), " ",
		make("span", "detail", record.detail || ""));
	summary.append(time, " ", line);
	details.append(summary);
	details.append(make("pre", "", JSON.stringify(record, null, 2)));
	item.append(details);
	return item;
}

function showAudit(records) {
	byId("audit-none").hidden = records.length > 0;
	keep(byId("audit"), records, (record) => record.seq + record.timestamp, auditItem);
}
