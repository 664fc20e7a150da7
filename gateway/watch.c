#include "gateway/watch.h"

#include <sys/stat.h>

static uint64_t look_at(struct str path, uint64_t seed)
{
	struct stat found;
	struct {
		uint64_t device, inode, size, modified_s, modified_ns, changed_s, changed_ns;
	} looks = {0};
	if (path.len == 0)
		return seed;
	if (stat(path.at, &found) == 0) {
		looks.device = found.st_dev;
		looks.inode = found.st_ino;
		looks.size = (uint64_t)found.st_size;
		looks.modified_s = (uint64_t)found.st_mtim.tv_sec;
		looks.modified_ns = (uint64_t)found.st_mtim.tv_nsec;
		looks.changed_s = (uint64_t)found.st_ctim.tv_sec;
		looks.changed_ns = (uint64_t)found.st_ctim.tv_nsec;
	}
	return str_hash(str_of((const char *)&looks, sizeof(looks)), seed);
}

static void look_at_tls(const struct config_tls *tls, struct str key, void *sum)
{
	(void)key;
	uint64_t seen = *(const uint64_t *)sum;
	for (size_t i = 0; i < tls->certificate_count; i++) {
		seen = look_at(tls->certificates[i].certificate_chain.text, seen);
		seen = look_at(tls->certificates[i].private_key.text, seen);
	}
	for (size_t i = 0; i < tls->session_ticket_keys.count; i++)
		seen = look_at(tls->session_ticket_keys.items[i].text, seen);
	seen = look_at(tls->trusted_ca.text, seen);
	*(uint64_t *)sum = look_at(tls->crl.text, seen);
}

uint64_t watch_look(const struct config *config)
{
	uint64_t seen = 1;
	config_each_tls(config, look_at_tls, &seen);
	return seen;
}

bool watch_changed(struct watch *watch, const struct config *config)
{
	uint64_t now = watch_look(config);
	bool changed = now != watch->seen;
	watch->seen = now;
	return changed;
}

void watch_config_begin(struct watch *watch, const char *path)
{
	watch->config_seen = watch->config_loaded = path ? look_at(str_from(path), 1) : 0;
}

bool watch_config_rests_changed(struct watch *watch, const char *path)
{
	uint64_t now = path ? look_at(str_from(path), 1) : 0;
	bool rests = now == watch->config_seen;
	watch->config_seen = now;
	return rests && now != watch->config_loaded;
}
