#!/usr/bin/env bash
# The story of the gate, played with real clients: who is let in, who is not and why, and what a
# burst gets. Exits 0 only if all of it came out as it should. `make demo` builds what it needs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tollgate=${TOLLGATE:-$root/build/tollgate}
demo_backend=${DEMO_BACKEND:-$(dirname "$tollgate")/demo-backend}
work=$(mktemp -d "${TMPDIR:-/tmp}/tollgate-demo.XXXXXX")
pids=()
wrong=0
burst=10

finish() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

if [ -t 1 ]; then bold=$'\e[1m' good=$'\e[32m' bad=$'\e[31m' plain=$'\e[0m'; else bold='' good='' bad='' plain=''; fi
scene() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
tell() { printf '   %s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# expect WHAT WANTED GOT
expect() {
	if [ "$2" = "$3" ]; then
		printf '   %sas it should be:%s %s: %s\n' "$good" "$plain" "$1" "$3"
	else
		printf '   %sWRONG:%s %s: got "%s", expected "%s"\n' "$bad" "$plain" "$1" "$3" "$2"
		wrong=$((wrong + 1))
	fi
}

# eventually COMMAND…: until it succeeds, for ten seconds
eventually() {
	for _ in $(seq 200); do
		if "$@"; then return 0; fi
		sleep 0.05
	done
	return 1
}

# A port nobody listens on, below those the system gives to clients.
free_port() {
	local port
	for _ in $(seq 100); do
		port=$((12000 + (RANDOM * 32768 + RANDOM) % 20000))
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
	done
	die "no free port"
}

# --- backend: the Go one where a toolchain is new enough, otherwise the one built in C

wanted_go=$(sed -n 's/^go //p' "$root/tests/go.mod")
have_go() {
	command -v go >/dev/null || return 1
	local version
	version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
	version=${version#go}
	[ "$(printf '%s\n%s\n' "$wanted_go" "${version%% *}" | sort -V | head -n1)" = "$wanted_go" ]
}

build_go() {
	(cd "$root/tests" && GOTOOLCHAIN=local go build -o "$work/" ./backend/cmd/backend ./demo/client) \
		>"$work/go.log" 2>&1
}

choose_backend() {
	kind=go
	if ! have_go; then
		why="there is no Go toolchain of version $wanted_go or newer"
		kind=c
	elif ! build_go; then
		why="the Go programs do not build: $(tail -n1 "$work/go.log")"
		kind=c
	fi
	if [ "$kind" = c ]; then
		[ "${CI:-}" != true ] || die "$why, and CI must not do without"
		[ -x "$demo_backend" ] || die "$why, and $demo_backend is missing: run make"
	fi
}

start_backend() {
	if [ "$kind" = go ]; then
		"$work/backend" -detached -grpc 127.0.0.1:0 -http '' -h2c '' >"$work/backend.json" &
		pids+=($!)
		eventually test -s "$work/backend.json" || die "the backend does not start"
		backend=$(sed -n 's/.*"grpc":"\([^"]*\)".*/\1/p' "$work/backend.json")
		tell "gRPC backend in Go (grpc-go) at $backend, clients: grpc-go and curl"
	else
		"$demo_backend" 127.0.0.1:0 >"$work/backend.log" 2>&1 &
		pids+=($!)
		eventually test -s "$work/backend.log" || die "the backend does not start"
		backend=$(cat "$work/backend.log")
		tell "$why: using the built-in backend at $backend, client: curl"
	fi
}

# --- gateway

write_config() {
	cat >"$work/tollgate.yaml" <<-YAML
	version: tollgate/v1
	workers: 2
	drain_timeout: 5s
	admin: {address: "127.0.0.1:$admin"}
	audit: {path: audit.jsonl}
	listeners:
	  - name: edge
	    address: "127.0.0.1:$port"
	    tls:
	      certificates:
	        - {certificate_chain: pki/gateway.pem, private_key: pki/gateway.key}
	      validation_context:
	        trusted_ca: pki/ca.pem
	        match_subject_alt_names: ["spiffe://cluster.local/*"]
	    routes:
	      - match: {grpc: user.UserService/Login}
	        backend: users
	        rate_limits: [{rate: 1/h, burst: $burst, per: [identity]}]
	      - match: {grpc: user.UserService/*}
	        backend: users
	      - match: {path: /hello}
	        respond: {status: 200, body: "welcome\n"}
	backends:
	  - {name: users, protocol: h2, endpoints: ["$backend"]}
	YAML
}

ready() { [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$admin/readyz")" = 200 ]; }

ready_or_gone() { ready || ! kill -0 "$gateway" 2>/dev/null; }

start_gateway() {
	for _ in 1 2 3 4 5; do
		port=$(free_port) admin=$(free_port)
		write_config
		"$tollgate" run --config "$work/tollgate.yaml" 2>"$work/gateway.log" &
		gateway=$!
		pids+=("$gateway")
		eventually ready_or_gone || true
		if ready; then return; fi
		kill "$gateway" 2>/dev/null || true
		grep -qi 'in use' "$work/gateway.log" || break
	done
	cat "$work/gateway.log" >&2
	die "the gateway does not start"
}

# --- clients

# request CLIENT: the status of an HTTP request with that client's certificate; none: without one
request() {
	local certificate=()
	[ "$1" = none ] || certificate=(--cert "$work/pki/$1.pem" --key "$work/pki/$1.key")
	curl -sS --max-time 10 --cacert "$work/pki/ca.pem" "${certificate[@]}" -o "$work/body" \
		-w '%{http_code}' "https://localhost:$port/hello" || true
}

records() { if [ -f "$work/audit.jsonl" ]; then wc -l <"$work/audit.jsonl"; else echo 0; fi; }
more_records_than() { [ "$(records)" -gt "$1" ]; }

# refused CLIENT REASON
refused() {
	local before status
	before=$(records)
	status=$(request "$1")
	tell "told: $(cat "$work/body" 2>/dev/null)"
	expect "HTTP status" 403 "$status"
	eventually more_records_than "$before" || true
	tell "audit: $(tail -n1 "$work/audit.jsonl" 2>/dev/null)"
	expect "audit reason" "$2" "$(tail -n1 "$work/audit.jsonl" 2>/dev/null | sed -n 's/.*"reason":"\([a-z_]*\)".*/\1/p')"
}

# calls METHOD N: makes N gRPC calls as the web client, and says how they ended: "10 x OK" lines
calls() {
	if [ "$kind" = go ]; then
		"$work/client" -address "localhost:$port" -ca "$work/pki/ca.pem" -cert "$work/pki/web.pem" \
			-key "$work/pki/web.key" -method "$1" -calls "$2" -connections 3
	else
		for _ in $(seq "$2"); do curl_call "$1"; done | sort | uniq -c | sed -E 's/^ *([0-9]+) (.*)/\1 x \2/'
	fi
}

# One gRPC call by hand, without a message: the built-in backend misses none, and curl 7.88 (Debian
# 12) takes an answer that comes before the end of its body, as a refusal may, for a stream error.
curl_call() {
	local status
	curl -sS --http2 --max-time 10 --cacert "$work/pki/ca.pem" --cert "$work/pki/web.pem" \
		--key "$work/pki/web.key" -X POST -H 'content-type: application/grpc' -H 'te: trailers' \
		-D "$work/head" -o /dev/null "https://localhost:$port$1" || true
	status=$(tr -d '\r' <"$work/head" | sed -n 's/^grpc-status: *//Ip' | tail -n1)
	case $status in
	0) echo OK ;;
	8) echo "ResourceExhausted $(tr -d '\r' <"$work/head" | sed -n 's/^grpc-message: *//Ip' | sed 's/%20/ /g')" ;;
	*) echo "status $status" ;;
	esac
}

# A client that asks without end, with a kept and a new connection each, until it is told to stop.
keep_asking() {
	: >"$work/asked"
	while [ ! -e "$work/enough" ]; do
		curl -sS --max-time 10 --cacert "$work/pki/ca.pem" --cert "$work/pki/web.pem" --key "$work/pki/web.key" \
			-o /dev/null -o /dev/null -w '%{http_code}\n' "https://localhost:$port/hello" "https://localhost:$port/hello" \
			>>"$work/asked" 2>&1 || true
	done
}

begin_asking() {
	rm -f "$work/enough"
	keep_asking &
	asking=$!
	pids+=("$asking")
	eventually test -s "$work/asked"
}

end_asking() {
	touch "$work/enough"
	wait "$asking" || true
	tell "meanwhile $(wc -l <"$work/asked") requests"
	expect "of them failed" 0 "$(grep -cvx 200 "$work/asked" || true)"
}

served_serial() {
	openssl s_client -connect "localhost:$port" </dev/null 2>/dev/null | openssl x509 -noout -serial 2>/dev/null
}
serves_next() { [ "$(served_serial)" = "$(openssl x509 -noout -serial -in "$work/next/gateway.pem")" ]; }
refuses_web() { [ "$(request web)" = 403 ]; }

# The processes that run this configuration, without their launchers.
gateways() {
	local process words
	for process in /proc/[0-9]*; do
		mapfile -d '' -t words 2>/dev/null <"$process/cmdline" || true
		[ "${words[1]:-}" = run ] && [ "${words[3]:-}" = "$work/tollgate.yaml" ] && echo "${process#/proc/}"
	done
	return 0
}
replaced() { [ -n "$(gateways)" ] && [ "$(gateways)" != "$gateway" ] && [ "$(gateways | wc -l)" = 1 ]; }
gone() { [ -z "$(gateways)" ]; }

# shellcheck source=fleet.sh
. "$here/fleet.sh"

ended() { sed -n "s/^ *\([0-9]*\) x $1.*/\1/p" "$work/calls"; }

# --- the story

[ -x "$tollgate" ] || die "$tollgate is missing: run make"
command -v curl >/dev/null || die "curl is missing: run make deps"

scene "The house: a throwaway PKI, a backend, and the gateway before it"
"$tollgate" pki "$work/pki" >/dev/null || die "tollgate pki failed"
choose_backend
start_backend
start_gateway
tell "gateway at https://localhost:$port, only spiffe://cluster.local/* may pass"

scene "1. spiffe://cluster.local/ns/web/sa/web calls /user.UserService/GetUser"
calls /user.UserService/GetUser 1 | tee "$work/calls"
expect "calls let through" 1 "$(ended OK)"
expect "HTTP request with curl" 200 "$(request web)"

scene "2. A caller without a certificate"
refused none certificate_missing

scene "3. A certificate of an untrusted CA"
refused untrusted certificate_untrusted

scene "4. An expired certificate"
refused expired certificate_expired

scene "5. A good certificate with the wrong SPIFFE ID, spiffe://other.example/ns/x/sa/y"
refused other identity_not_allowed

sent=$((burst * 3))
scene "6. A burst: $sent calls of /user.UserService/Login at once, where $burst are allowed"
calls /user.UserService/Login "$sent" | tee "$work/calls"
expect "calls let through" "$burst" "$(ended OK)"
expect "calls refused with RESOURCE_EXHAUSTED" $((sent - burst)) "$(ended ResourceExhausted)"
tell "audit: $(grep '"rate_limited"' "$work/audit.jsonl" 2>/dev/null | tail -n1)"

scene "7. Another method passes all the same"
calls /user.UserService/GetUser 5 | tee "$work/calls"
expect "calls let through" 5 "$(ended OK)"

scene "8. Another CA: its certificate is served, and trusted beside the old one, while clients call"
"$tollgate" pki "$work/next" >/dev/null || die "tollgate pki failed"
begin_asking
cat "$work/pki/ca.pem" "$work/next/ca.pem" >"$work/pki/both.pem"
mv "$work/pki/both.pem" "$work/pki/ca.pem"
tell "served: $(served_serial)"
cp "$work/next/gateway.key" "$work/next/gateway.pem" "$work/pki/"
expect "within five seconds the new one is served" yes "$(eventually serves_next && echo yes || echo no)"
tell "served: $(served_serial)"
end_asking

scene "9. Another binary: SIGUSR2, while clients call"
begin_asking
kill -USR2 "$gateway"
expect "the process was replaced" yes "$(eventually replaced && echo yes || echo no)"
successor=$(gateways)
pids+=("$successor")
tell "process $gateway gave way to $successor"
end_asking
calls /user.UserService/Login 5 | tee "$work/calls"
expect "tokens that the exchange brought those who had none" 5 "$(ended ResourceExhausted)"

scene "10. The old CA goes: its certificates are not good any more"
cp "$work/next/ca.pem" "$work/pki/ca.pem.next"
mv "$work/pki/ca.pem.next" "$work/pki/ca.pem"
expect "the old client is refused" yes "$(eventually refuses_web && echo yes || echo no)"
cp "$work/next/web.pem" "$work/next/web.key" "$work/pki/"
expect "the new client" 200 "$(request web)"

scene "11. Two gateways, one bucket in Redis: $((burst * 2)) requests to each at once, where $burst are allowed in all"
if command -v redis-server >/dev/null; then
	fleet
else
	[ "${CI:-}" != true ] || die "there is no redis-server, and CI must not do without"
	tell "there is no redis-server on this machine: left out"
fi

scene "12. The gate closes, and the audit chain holds"
kill -TERM "$successor"
expect "it has ended" yes "$(eventually gone && echo yes || echo no)"
expect "drains that came to a good end" 2 "$(grep -c 'msg="\?stopped"\? clean=true' "$work/gateway.log")"
code=0
"$tollgate" audit verify "$work/audit.jsonl" || code=$?
expect "exit code of audit verify" 0 "$code"

if [ "$wrong" -gt 0 ]; then
	scene "$wrong of these came out wrong"
	tail -n 20 "$work/gateway.log" >&2
	exit 1
fi
scene "All of it came out as it should"
