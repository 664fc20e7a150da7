// The life of the page: asks, shows, waits. A gateway that does not answer is asked less and less
// often, and a page that nobody looks at does not ask at all.

const SLOWEST_MS = 30000;
const PATIENCE_MS = 5000;
const CERTIFICATES_MS = 60000;

const page = {
	tickMs: 2000,
	history: { started: "", samples: [] },
	timer: 0,
	failures: 0,
	lastGood: 0,
	records: -1,
	certificatesOf: "", // generation and minute they were asked for
	busy: false,
};

async function ask(path) {
	const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
	if (!answer.ok)
		throw new Error(path + " answered " + answer.status);
	return answer.json();
}

function showStatus(status) {
	const at = performance.now() / 1000;
	const uppers = status.bucket_upper_seconds.map(Number);
	remember(page.history, status, at);
	const samples = page.history.samples;
	const pair = recentPair(samples, RECENT_S);
	showHead(status);
	showAlarm(status);
	showTraffic(samples, pair);
	showLatency(samples, pair, uppers);
	showRefusals(samples, pair);
	showBackends(status, samples);
}

async function showRest(status) {
	showLimits(await ask("/limits"));
	if (page.records !== status.audit.records || page.unwritten) {
		const records = await ask("/audit");
		// The writer gathers for a moment; what was counted may not be written yet.
		page.unwritten = page.records !== status.audit.records;
		page.records = status.audit.records;
		showAudit(records);
	}
	const wanted = status.generation + " " + Math.floor(performance.now() / CERTIFICATES_MS);
	if (page.certificatesOf !== wanted) {
		showCertificates(await ask("/certificates"), Date.parse(status.now));
		page.certificatesOf = wanted;
	}
}

function showLink(text, bad) {
	const link = byId("link");
	say("link", text);
	link.toggleAttribute("data-bad", bad);
	byId("live").toggleAttribute("data-stale", bad);
}

function wentWell() {
	page.failures = 0;
	page.lastGood = Date.now();
	byId("live").hidden = false;
	if (!document.hidden)
		showLink("Live, every " + page.tickMs / 1000 + " seconds. Charts begin when the page is opened.", false);
}

function wentWrong(error) {
	page.failures++;
	const wait = waitMs() / 1000;
	byId("state").dataset.state = "unreachable";
	say("state-word", "unreachable");
	document.title = "tollgate: unreachable";
	showLink("The gateway does not answer" + (page.lastGood ? " since " + textOfClock(page.lastGood) : "")
		+ "; asking again every " + wait + " seconds. (" + error.message + ")", true);
}

function waitMs() {
	return Math.min(SLOWEST_MS, page.tickMs * 2 ** Math.max(0, page.failures - 1));
}

async function tick() {
	if (page.busy || document.hidden)
		return;
	page.busy = true;
	try {
		const status = await ask("/status");
		showStatus(status);
		await showRest(status);
		wentWell();
	} catch (error) {
		wentWrong(error);
	}
	page.busy = false;
	clearTimeout(page.timer);
	if (!document.hidden)
		page.timer = setTimeout(tick, waitMs());
}

document.addEventListener("visibilitychange", () => {
	clearTimeout(page.timer);
	if (document.hidden)
		showLink("Paused while the page is hidden.", false);
	else
		tick();
});

tick();
