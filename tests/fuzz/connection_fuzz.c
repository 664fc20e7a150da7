// The whole of a connection after TLS: downstream, codecs, decision, exchange, forwarding, pools,
// refusals and records, on a real loop with real sockets and a clock the input moves. Clients good
// and refused, of both protocols; backends of both that answer by themselves, or say what the input
// says, or hang up; reload, drain and a failing disk in between. Whatever happens, in house_check.h
// stands what must hold.
//   choices \n acts
#include <signal.h>

#include "base/log.h"
#include "tests/fuzz/h2_play.h"
#include "tests/fuzz/house_check.h"

static const char config_text[] =
        "version: tollgate/v1\n"
        "workers: 1\n"
        "audit: {path: audit.jsonl, fold_after: 1000000, on_failure: refuse}\n"
        "access_log: {path: access.jsonl}\n"
        "listeners:\n"
        "  - name: edge\n"
        "    address: unix:edge\n"
        "    tls:\n"
        "      certificates: [{certificate_chain: gateway0.pem, private_key: gateway0.key}]\n"
        "      validation_context: {trusted_ca: ca.pem, match_subject_alt_names: [\"%s\"]}\n"
        "    limits: {connections: 3, concurrent_streams: 4, body_bytes: 16KiB}\n"
        "    timeouts: {request: 20s}\n"
        "    routes:\n"
        "      - match: {path: /shop/*}\n"
        "        allow: [\"spiffe://cluster.local/ns/shop/*\"]\n"
        "        backend: web\n"
        "      - match: {path: /limited/*}\n"
        "        backend: web\n"
        "        rate_limits: [{rate: 1/m, burst: 2, per: [identity]}]\n"
        "        call_limits: [{calls: 1, shadow: true, overrides:\n"
        "          [{identity: \"spiffe://cluster.local/ns/shop/*\", calls: 2}]}, {calls: 3}]\n"
        "      - match: {path: /slow/*}\n"
        "        backend: rpc\n"
        "        flow_limits: [{bytes: 2000/s, burst: 3000}, {bytes: 2000/s, burst: 2000,\n"
        "          direction: responses}]\n"
        "      - match: {path: /tight/*}\n"
        "        backend: rpc\n"
        "        retry: {on: [reset, 500], tries: 3, non_idempotent: true}\n"
        "        flow_limits: [{bytes: 1/s, burst: 4, on_excess: reject}, {bytes: 1/s, burst: 4,\n"
        "          direction: responses, on_excess: reject}]\n"
        "      - match: {grpc: c.D/*}\n"
        "        backend: rpc\n"
        "        flow_limits: [{messages: 1000/s, burst: 500}, {messages: 1/s, burst: 1,\n"
        "          shadow: true, on_excess: reject}, {bytes: 9/s, burst: 9, shadow: true,\n"
        "          direction: responses}, {messages: 1/s, burst: 3,\n"
        "          direction: responses, on_excess: reject}]\n"
        "      - match: {grpc: a.B/*}\n"
        "        backend: rpc\n"
        "        timeout: 2s\n"
        "        retry: {tries: 3, backoff: 50ms, buffer: 1KiB}\n"
        "      - match: {path: /rpc/*}\n"
        "        backend: rpc\n"
        "        retry: {on: [reset, timeout, 500, 404], tries: 4, per_try_timeout: 500ms,\n"
        "          non_idempotent: true, backoff: 0s, budget: 100}\n"
        "      - {match: {path: /dead/*}, backend: dead}\n"
        "      - match: {path: /narrow/*}\n"
        "        backend: narrow\n"
        "        retry: {on: [reset, timeout, 404], tries: 3, per_try_timeout: 700ms,\n"
        "          non_idempotent: true, backoff: 0s, budget: 100}\n"
        "      - {match: {path: /strait/*}, backend: strait, mirror: {backend: narrow}}\n"
        "      - match: {path: /ws/*}\n"
        "        backend: web\n"
        "        upgrade: [websocket]\n"
        "        flow_limits: [{bytes: 100/s, burst: 8}, {bytes: 100/s, burst: 3, direction: "
        "responses},\n"
        "          {bytes: 1/m, burst: 5, shadow: true}]\n"
        "      - match: {path: /web/*}\n"
        "        backend: web\n"
        "        retry: {on: [reset, timeout, 503, 404], tries: 4, per_try_timeout: 500ms,\n"
        "          non_idempotent: true, backoff: 20ms, buffer: 4KiB}\n"
        "      - match: {path: /hello}\n"
        "        respond: {status: 200, body: \"hello\\n\"}\n"
        "backends:\n"
        "  - {name: web, protocol: http1, endpoints: [\"unix:web\"]}\n"
        "  - {name: rpc, protocol: h2, endpoints: [\"unix:rpc\"]}\n"
        "  - {name: dead, protocol: http1, endpoints: [\"unix:dead\"]}\n"
        "  - {name: narrow, protocol: http1, endpoints: [\"unix:web\"],\n"
        "     circuit_breaker: {connections: %d, pending: 2, pending_timeout: 800ms}}\n"
        "  - {name: strait, protocol: h2, endpoints: [\"unix:rpc\"],\n"
        "     circuit_breaker: {connections: 1, pending: 1}}\n";

#define A_HOST " HTTP/1.1\r\nhost: a\r\n"
static const char *const requests[] = {
        "GET /web/x" A_HOST "\r\n",
        "GET /rpc/x" A_HOST "\r\n",
        "POST /web/x" A_HOST "content-length: 5\r\n\r\n12345",
        "POST /rpc/x" A_HOST "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
        "POST /web/x" A_HOST "content-length: 9000\r\nexpect: 100-continue\r\n\r\n",
        "GET /limited/%2e./limited/x" A_HOST "\r\n",
        "GET /web/../shop/x" A_HOST "x-forwarded-client-cert: URI=" SHOP_ID "\r\n\r\n",
        "GET /ws/x" A_HOST "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: "
        "dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
        "GET /dead/x" A_HOST "\r\n",
        "GET /hello" A_HOST "\r\n",
        "GET /nowhere" A_HOST "\r\n",
        "HEAD /web/x" A_HOST "connection: close\r\n\r\n",
        "GET /web/x" A_HOST "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /web/x" A_HOST "content-length: 99999\r\n\r\n",
        "POST /a.B/C" A_HOST "content-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n",
        "GET /web/x HTTP/1.0\r\nhost: a\r\n",
        "POST /slow/x" A_HOST "content-length: 9\r\n\r\n123456789",
        "POST /tight/x" A_HOST "transfer-encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n",
        "GET /slow/x HTTP/1.0\r\nhost: a\r\n\r\n",
        "GET /narrow/x" A_HOST "\r\n",
        "POST /narrow/x" A_HOST "content-length: 5\r\n\r\n12345",
        "POST /strait/x" A_HOST "content-length: 5\r\n\r\n12345",
};

static const char *const heads[] = {
        ":method: GET\n:scheme: https\n:authority: a\n:path: /web/x\n",
        ":method: POST\n:scheme: https\n:authority: a\n:path: /rpc/x\n",
        ":method: POST\n:scheme: https\n:authority: a\n:path: /web/x\ncontent-length: 5\n",
        (":method: POST\n:scheme: https\n:path: /a.B/C\n"
         "content-type: application/grpc\ngrpc-timeout: 1S\n"),
        ":method: POST\n:scheme: https\n:authority: a\n:path: /limited/x\n",
        ":method: POST\n:scheme: https\n:authority: a\n:path: /shop/x\nx-request-id: 7\n",
        ":method: GET\n:scheme: https\n:authority: a\n:path: /dead/x\n",
        ":method: GET\n:scheme: https\n:authority: a\n:path: /hello\n",
        ":method: GET\n:scheme: https\n:authority: a\n:path: /web/%2e%2e/shop/x\n",
        ":method: GET\n:scheme: https\n:authority: a\nconnection: close\n:path: /web/x\n",
        "x-sum: 1\n",
        ":method: POST\n:scheme: https\n:authority: a\n:path: /slow/x\n",
        ":method: POST\n:scheme: https\n:authority: a\n:path: /tight/x\n",
        (":method: POST\n:scheme: https\n:path: /c.D/E\n"
         "content-type: application/grpc\n"),
        ":method: GET\n:scheme: https\n:authority: a\n:path: /narrow/x\n",
        ":method: POST\n:scheme: https\n:authority: a\n:path: /narrow/x\n",
        ":method: GET\n:scheme: https\n:authority: a\n:path: /strait/x\n",
};

static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "2\r\nok\r\n0\r\n\r\n",
};

static const char *const answer_heads[] = {
        ":status: 200\n",
        ":status: 200\ncontent-type: application/grpc\n",
        "grpc-status: 0\n",
        ":status: 200\ncontent-length: 5\n",
        ":status: 103\nlink: x\n",
        ":status: 204\n",
        ":status: 101\n",
};

static void clear_up(void)
{
	static const char *const names[] = {"edge", "web", "rpc", "config"};
	char path[128];
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", street.directory, names[i]);
		unlink(path);
	}
	rmdir(street.directory);
}

static struct snapshot *load(struct desk *desk, const char *pattern, int connections)
{
	struct config_problems problems = {0};
	struct buffer text = {0};
	buffer_printf(&text, config_text, pattern, connections);
	struct config_text path = desk_write(desk, "config", buffer_str(&text));
	struct snapshot *snapshot = snapshot_load(path.text.at, NULL, street.store, &problems);
	config_problems_print(&problems, STDERR_FILENO);
	CHECK(snapshot);
	config_problems_fini(&problems);
	buffer_fini(&text);
	return snapshot;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct desk desk;
	(void)argc, (void)argv;
	clock_fake(0, NOW_S * NS_PER_S);
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	desk_init(&desk);
	struct paper root = forge(&(struct draft){.cn = "root", .ca = true}, NULL);
	struct paper gateway = forge(&(struct draft){.cn = "gateway", .names = "DNS:a"}, &root);
	desk_serve(&desk, &gateway);
	desk_trust(&desk, (const struct paper *[]){&root}, 1);
	snprintf(street.directory, sizeof(street.directory), "%s", desk.directory);
	street.store = bucket_store_new();
	street.snapshot = load(&desk, "spiffe://cluster.local/*", 1);
	street.stricter = load(&desk, "spiffe://cluster.local/ns/shop/*", 2);
	desk_fini(&desk);
	paper_fini(&gateway);
	paper_fini(&root);
	CHECK(mkdir(street.directory, 0700) == 0 && atexit(clear_up) == 0);
	street.listening[WEB] = listen_at("web");
	street.listening[RPC] = listen_at("rpc");
	return 0;
}

struct scene {
	struct house house;
	struct play play;
};

static struct client *some_client(struct scene *scene)
{
	struct house *house = &scene->house;
	size_t number = dice(&scene->play.dice, CLIENTS_MAX);
	struct client *client = &house->clients[number % house->client_count];
	return client->socket >= 0 ? client : NULL;
}

static struct backend *some_backend(struct scene *scene)
{
	struct house *house = &scene->house;
	size_t number = dice(&scene->play.dice, BACKENDS_MAX);
	if (!house->backend_count)
		return NULL;
	struct backend *backend = &house->backends[number % house->backend_count];
	return backend->socket >= 0 ? backend : NULL;
}

static void act_knock(struct scene *scene)
{
	struct dice *dice_acts = &scene->play.dice;
	struct caller caller = callers[dice(dice_acts, ARRAY_LEN(callers))];
	caller.h2 = dice(dice_acts, 2);
	caller.expires_s = NOW_S + scene->house.now_ns / NS_PER_S + (dice(dice_acts, 2) ? 3 : DAY);
	size_t before = scene->house.client_count;
	house_knock(&scene->house, &caller);
	if (scene->house.client_count == before)
		return;
	struct client *client = &scene->house.clients[before];
	say_to(client->socket, dice(dice_acts, 8) == 7 ? STR("?") : STR("!"));
	if (caller.h2)
		say_to(client->socket, STR(H2_PREFACE "\0\0\0\4\0\0\0\0\0"));
}

static void act_frames(struct scene *scene, const char *const *table, size_t count, uint32_t *next)
{
	struct play *play = &scene->play;
	static const unsigned numbered[] = {
	        NGHTTP2_SETTINGS, NGHTTP2_WINDOW_UPDATE, NGHTTP2_RST_STREAM, NGHTTP2_GOAWAY};
	unsigned which = dice(&play->dice, 12);
	if (which < 5) {
		bool old = dice(&play->dice, 4) == 3;
		uint32_t id = old ? some_stream(play) : *next;
		*next += old ? 0 : 2;
		act_headers(play, table, count, id);
	} else if (which < 9) {
		act_data(play);
	} else if (which == 9) {
		act_any_frame(play);
	} else {
		act_number(play, numbered[dice(&play->dice, ARRAY_LEN(numbered))]);
	}
}

static void act_client(struct scene *scene)
{
	struct play *play = &scene->play;
	struct client *client = some_client(scene);
	unsigned which = dice(&play->dice, 8);
	if (!client)
		return;
	if (which == 7)
		buffer_append_str(&play->wire, dice_bytes(&play->dice, dice(&play->dice, 64)));
	else if (client->caller.h2)
		act_frames(scene, heads, ARRAY_LEN(heads), &client->next_id);
	else
		buffer_append_str(
		        &play->wire, str_from(requests[dice(&play->dice, ARRAY_LEN(requests))]));
	say_to(client->socket, buffer_str(&play->wire));
}

static void act_backend(struct scene *scene)
{
	struct play *play = &scene->play;
	struct backend *backend = some_backend(scene);
	unsigned which = dice(&play->dice, 8);
	uint32_t next = 1 + 2 * dice(&play->dice, 4);
	if (!backend)
		return;
	if (which == 7)
		hang_up(&backend->socket);
	else if (which == 6)
		shutdown(backend->socket, SHUT_WR);
	else if (which == 5)
		buffer_append_str(&play->wire, dice_bytes(&play->dice, dice(&play->dice, 64)));
	else if (which == 4)
		put_frame(&play->wire, NGHTTP2_SETTINGS, 0, 0, STR(""));
	else if (backend->kind == RPC)
		act_frames(scene, answer_heads, ARRAY_LEN(answer_heads), &next);
	else
		buffer_append_str(
		        &play->wire, str_from(answers[dice(&play->dice, ARRAY_LEN(answers))]));
	if (backend->socket >= 0 && !backend->helper)
		say_to(backend->socket, buffer_str(&play->wire));
}

static void act_leave(struct scene *scene)
{
	struct client *client = some_client(scene);
	bool half = dice(&scene->play.dice, 2);
	if (!client)
		return;
	client->hung_up = true;
	if (half)
		shutdown(client->socket, SHUT_WR);
	else
		hang_up(&client->socket);
}

static void act_time(struct scene *scene)
{
	static const int64_t waits_ms[] = {1, 101, 1001, 2001, 5001, 10001, 31000, 61000};
	int64_t wait_ms = waits_ms[dice(&scene->play.dice, ARRAY_LEN(waits_ms))];
	house_wait(&scene->house, wait_ms * NS_PER_MS, 1);
}

static void act_fate(struct scene *scene)
{
	struct worker *worker = &scene->house.worker;
	unsigned which = dice(&scene->play.dice, 5);
	scene->house.stricter |= which == 0;
	if (which == 4)
		street.memory.level = (enum memory_level)dice(&scene->play.dice, 3);
	else if (which == 0)
		worker_offer(worker, snapshot_ref(street.stricter));
	else if (which == 1)
		worker_offer(worker, snapshot_ref(street.snapshot));
	else if (which == 2)
		street.disk_refuses = !street.disk_refuses;
	else
		worker_drain(worker);
}

static void act(struct scene *scene)
{
	unsigned which = dice(&scene->play.dice, 12);
	buffer_clear(&scene->play.wire);
	if (which < 5)
		act_client(scene);
	else if (which < 8)
		act_backend(scene);
	else if (which == 8)
		act_time(scene);
	else if (which == 9)
		act_leave(scene);
	else if (which == 10)
		act_knock(scene);
	else
		act_fate(scene);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice all = dice_of(data, size), choices = {dice_line(&all)};
	static struct scene scene;
	struct house *house = &scene.house;
	scene.play = (struct play){.dice = choices};
	street.disk_refuses = false;
	street.memory.level = MEMORY_ROOM;
	house_open(house, dice(&scene.play.dice, 2));
	bool patient = dice(&scene.play.dice, 2);
	act_knock(&scene);
	scene.play.dice.left = dice_rest(&all);
	int64_t start_ns = house->now_ns;
	while (scene.play.dice.left.len) {
		act(&scene);
		if (patient || dice(&scene.play.dice, 2))
			house_turns(house);
		check_queues(house);
	}
	bool drained = house->worker.drain_asked;
	if (!drained)
		check_nothing_stays(house);
	// Two of each of the two identities at once, one more a minute.
	size_t limited_at_most = 2 * (3 + (size_t)((house->now_ns - start_ns) / NS_PER_S / 60));
	house_close(house);
	check_backends(house, limited_at_most);
	for (size_t i = 0; i < house->client_count; i++)
		check_client(&house->clients[i], drained || lost_trust(house, &house->clients[i]));
	check_audit(house, drained);
	house_forget(house);
	buffer_fini(&scene.play.wire);
	return 0;
}
