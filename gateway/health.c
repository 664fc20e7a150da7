#include "gateway/health.h"

void health_succeeded(struct health *health)
{
	health->failures = 0;
}

bool health_failed(struct health *health, const struct config_ejection *ejection)
{
	if (health->ejected || !ejection->failures)
		return false;
	if (health->failures < ejection->failures)
		health->failures++;
	return health->failures >= ejection->failures;
}

static void forgive(struct health *health, int64_t base_ns, int64_t now_ns)
{
	int64_t good_for = (now_ns - health->back_ns) / base_ns;
	health->ejections = good_for < health->ejections ? health->ejections - (uint32_t)good_for
	                                                 : 0;
}

int64_t health_eject(struct health *health, const struct config_ejection *ejection, int64_t now_ns)
{
	forgive(health, ejection->base_ns, now_ns);
	if (health->ejections < HEALTH_GROWTH_MAX)
		health->ejections++;
	int64_t out_ns = ejection->base_ns * health->ejections;
	health->ejected = true;
	health->failures = 0;
	health->back_ns = now_ns + out_ns;
	return out_ns;
}

void health_join(struct health *health, int64_t now_ns)
{
	health->began_ns = now_ns;
}

void health_return(struct health *health, int64_t now_ns)
{
	health->ejected = false;
	health_join(health, now_ns);
}

void health_unejected(struct health *health)
{
	health->ejected = false;
	health->failures = health->ejections = 0;
	health->back_ns = 0;  // or the time it is let off would count against it
}

bool health_checked(
        struct health *health, const struct config_health_check *config, bool good, int64_t now_ns)
{
	health->checks_bad = good ? 0 : health->checks_bad + 1;
	health->checks_good = good ? health->checks_good + 1 : 0;
	bool turns = health->sick ? health->checks_good >= config->healthy
	                          : health->checks_bad >= config->unhealthy;
	if (!turns)
		return false;
	health->sick = !health->sick;
	if (!health->sick)
		health->began_ns = now_ns;
	return true;
}

void health_unchecked(struct health *health)
{
	health->sick = false;
	health->checks_bad = health->checks_good = 0;
}

bool health_may_eject(
        const struct config_ejection *ejection, size_t count, size_t ejected, size_t in)
{
	return in > 1 && (!ejected || (ejected + 1) * 100 <= count * ejection->most);
}

bool health_in(const struct health *health)
{
	return !health->ejected && !health->sick && !health->nowhere;
}

bool health_warming(const struct health *health, int64_t slow_start_ns, int64_t now_ns)
{
	return health_in(health) && health->began_ns && now_ns - health->began_ns < slow_start_ns;
}

uint32_t health_weight(
        const struct health *health, uint32_t weight, int64_t slow_start_ns, int64_t now_ns)
{
	if (!health_in(health))
		return 0;
	if (!health_warming(health, slow_start_ns, now_ns))
		return weight * HEALTH_WEIGHT;
	int64_t warmth = 100 * (now_ns - health->began_ns) / slow_start_ns;
	return weight * (uint32_t)(warmth > HEALTH_WARMTH_MIN ? warmth : HEALTH_WARMTH_MIN);
}
