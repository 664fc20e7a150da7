# A part of demo.sh, whose words it uses: two gateways with one bucket, in a Redis between them.
# shellcheck shell=bash disable=SC2154

write_member_config() {
	cat >"$work/$1.yaml" <<-YAML
	version: tollgate/v1
	workers: 1
	admin: {address: "127.0.0.1:$admin"}
	audit: {path: $1.jsonl}
	redis: {address: "unix:$work/redis", timeout: 5s}
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
	      - match: {path: /shared}
	        respond: {status: 200, body: "welcome\n"}
	        rate_limits: [{rate: 1/h, burst: $burst, store: redis, on_failure: deny}]
	YAML
}

start_redis() {
	redis-server --port 0 --unixsocket "$work/redis" --save '' --appendonly no --dir "$work" >"$work/redis.log" 2>&1 &
	redis=$!
	pids+=("$redis")
	eventually test -S "$work/redis" || die "redis-server does not start: $(tail -n1 "$work/redis.log")"
}

# start_member NAME: its port is added to `members`
start_member() {
	local port admin
	port=$(free_port) admin=$(free_port)
	write_member_config "$1"
	"$tollgate" run --config "$work/$1.yaml" 2>"$work/$1.log" &
	pids+=($!)
	eventually ready || die "a gateway of the fleet does not start: $(tail -n1 "$work/$1.log")"
	eventually grep -q 'limit store connected' "$work/$1.log" || die "it does not find Redis: $(tail -n1 "$work/$1.log")"
	members+=("$port")
}

# shared N: N requests to each member, all at the same time, and how they ended
shared() {
	local member asking=()
	for member in "${members[@]}"; do
		curl -sS --max-time 20 --cacert "$work/pki/ca.pem" --cert "$work/pki/web.pem" --key "$work/pki/web.key" \
			-o "$work/body" -w '%{http_code}\n' "https://localhost:$member/shared?[1-$1]" >"$work/shared.$member" &
		asking+=($!)
	done
	wait "${asking[@]}" || true
	for member in "${members[@]}"; do cat "$work/shared.$member"; done | sort | uniq -c | sed -E 's/^ *([0-9]+) (.*)/\1 x \2/'
}
all_denied() { [ "$(shared 1)" = '2 x 503' ]; }

fleet() {
	members=()
	start_redis
	start_member east
	start_member west
	shared $((burst * 2)) | tee "$work/calls"
	expect "let through by both together" "$burst" "$(ended 200)"
	expect "refused with 429" $((burst * 3)) "$(ended 429)"
	{ kill -KILL "$redis" && wait "$redis"; } 2>/dev/null || true
	tell "Redis is killed; the limit says on_failure: deny"
	expect "then both refuse with 503" yes "$(eventually all_denied && echo yes || echo no)"
	tell "told: $(cat "$work/body" 2>/dev/null)"
	eventually grep -q 'limit store did not answer' "$work/east.jsonl" || true
	tell "audit: $(grep '"overloaded"' "$work/east.jsonl" | tail -n1)"
	expect "why, in the audit log" "the limit store did not answer" \
		"$(sed -n 's/.*"detail":"\(the limit store did not answer\).*/\1/p' "$work/east.jsonl" | tail -n1)"
	expect "the loss itself is on the record" yes "$(grep -q '"event":"limit_store_lost"' "$work/west.jsonl" && echo yes || echo no)"
}
