# The gateway with faults on order (tests/inject/program/inject.c), included by the Makefile. The program is made of the very
# objects of the release; only calls from them to what is named here take the way through inject.o.

INJECT_CALLS := uv_read_start uv_write uv_try_write uv_tcp_init uv_tcp_open uv_tcp_connect uv_shutdown uv_poll_init_socket \
	accept4 open write fdatasync calloc nghttp2_session_server_new3

.PHONY: inject
inject: $(OUT)/inject/tollgate

$(OUT)/inject/tollgate: $(OUT)/$(MAIN:.c=.o) $(OUT)/tests/inject/program/inject.o $(ARCHIVES)
	@mkdir -p $(@D)
	@echo "  link  $@"
	$(Q)$(CC) $(LDFLAGS) $(INJECT_CALLS:%=-Wl,--wrap=%) -o $@ $^ $(LDLIBS)
