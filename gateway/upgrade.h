// SIGUSR2: another binary takes this one's place, and nobody notices.
//
//   this gateway                       launcher            the new one
//   sockets, channel, state ─────────▶ runs it ──────────▶ loads all, listens on the same sockets
//        serves on                                         ◀─┐
//   buckets into the state ◀──────── "ready" ────────────────┘
//   stops accepting, drains ──────── "go" ───────────────▶ takes the buckets, serves
//   ends: the channel closes ─────────────────────────────▶ the audit chain is its alone
//
// The sockets are shared all the while, so that no connection is refused. Should the new one not
// become ready in time, this one goes on as if nothing had been. Owned by the gateway, its main
// thread; one at a time.
#ifndef GATEWAY_UPGRADE_H
#define GATEWAY_UPGRADE_H

#include "gateway/launcher.h"
#include "gateway/net/turn.h"

struct gateway;

struct upgrade {
	struct launcher launcher;
	int state;    // a file in memory, made while that could be done
	int channel;  // to the newcomer; -1: none is expected
	bool polling;
	bool handed_over;
	bool outdated;  // another configuration came into force since the newcomer read it
	bool again;     // once its channel is closed
	uv_poll_t poll;
	struct timer deadline;
};

// Before anything is closed behind the process.
void upgrade_prepare(struct upgrade *upgrade, struct launcher launcher);
void upgrade_begin(struct gateway *gateway);
void upgrade_cancel(struct gateway *gateway);  // if one is under way; idempotent
void upgrade_fini(struct upgrade *upgrade);    // after the loop

#endif
