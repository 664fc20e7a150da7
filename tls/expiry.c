#include "tls/expiry.h"

#include "tls/facts.h"

static size_t count_all(const struct tls_context *context)
{
	size_t count = context->pair_count + (size_t)sk_X509_num(context->trust.authorities);
	for (size_t i = 0; i < context->pair_count; i++)
		count += (size_t)sk_X509_num(context->pairs[i].chain);
	if (context->trust.lists)
		count += (size_t)sk_X509_CRL_num(context->trust.lists);
	return count;
}

static struct tls_expiry *add(struct tls_context *context, const char *role, struct str file)
{
	struct tls_expiry *expiry = &context->expiries[context->expiry_count++];
	*expiry = (struct tls_expiry){.role = role, .file = file};
	return expiry;
}

static void add_certificate(struct tls_context *context, const char *role, struct str file,
        const struct tls_certificate_facts *facts)
{
	struct tls_expiry *expiry = add(context, role, file);
	expiry->name = facts->subject;
	expiry->serial = facts->serial;
	expiry->sha256 = facts->sha256;
	expiry->ends = facts->not_after;
	expiry->begins_s = facts->not_before_s;
	expiry->ends_s = facts->not_after_s;
}

static void add_pair(struct tls_context *context, const struct material_pair *pair, struct str file)
{
	add_certificate(context, "certificate", file, &pair->facts);
	for (int i = 0; i < sk_X509_num(pair->chain); i++) {
		struct tls_certificate_facts facts;
		struct facts_totals totals;
		facts_read(&context->arena, sk_X509_value(pair->chain, i), FACTS_PEER_NAMES, &facts,
		        &totals);
		add_certificate(context, "intermediate", file, &facts);
	}
}

// A list without a next update does not end.
static void add_list(struct tls_context *context, const X509_CRL *list, struct str file)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(list);
	if (!next)
		return;
	struct tls_expiry *expiry = add(context, "crl", file);
	expiry->name = facts_name(&context->arena, X509_CRL_get_issuer(list));
	expiry->sha256 = facts_list_sha256(&context->arena, list);
	expiry->ends = facts_time_text(&context->arena, next);
	expiry->begins_s = facts_time_s(X509_CRL_get0_lastUpdate(list));
	expiry->ends_s = facts_time_s(next);
}

void expiry_collect(struct tls_context *context, const struct config_tls *tls)
{
	struct arena *arena = &context->arena;
	context->expiries = arena_alloc(arena, count_all(context) * sizeof(*context->expiries));
	for (size_t i = 0; i < context->pair_count; i++)
		add_pair(context, &context->pairs[i],
		        arena_str(arena, tls->certificates[i].certificate_chain.text));
	struct str bundle = arena_str(arena, tls->trusted_ca.text);
	for (int i = 0; i < sk_X509_num(context->trust.authorities); i++)
		add_certificate(context, "trusted_ca", bundle, &context->trust.facts[i]);
	struct str lists = arena_str(arena, tls->crl.text);
	for (int i = 0; i < sk_X509_CRL_num(context->trust.lists); i++)
		add_list(context, sk_X509_CRL_value(context->trust.lists, i), lists);
}
