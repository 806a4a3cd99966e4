# leadscore: builds with PGXS; the project's own commands (demo, check, bench ...)
# live in test/commands.mk and need no PostgreSQL to start with.

EXTENSION = leadscore
MODULE_big = leadscore

# where this Makefile lies: "." in place, the source folder in a VPATH build
LS_SRC := $(patsubst %/,%,$(dir $(firstword $(MAKEFILE_LIST))))
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(LS_SRC)/leadscore.control)

# The parts, in the order of docs/design.md: a part uses those above it only.
# Each line names every object and script: nothing is found by wildcard.
OBJS_base =		src/leadscore.o
OBJS_stage =		src/stage/stage.o \
				src/stage/stage_core.o \
				src/stage/stage_gist.o
OBJS_score =		src/score/score_core.o \
				src/score/score_form.o \
				src/score/score_network.o \
				src/score/score_text.o \
				src/score/score.o \
				src/score/score_ops.o \
				src/score/score_agg.o \
				src/score/score_bound.o \
				src/score/score_place.o \
				src/score/score_fall.o \
				src/score/score_rank.o \
				src/score/score_gist.o \
				src/score/score_cluster.o \
				src/score/score_enter.o \
				src/score/score_support.o
OBJS_model =		src/model/eval_atom.o \
				src/model/eval_compile.o \
				src/model/eval_fail.o \
				src/model/eval_probe.o \
				src/model/eval_run.o \
				src/model/eval_state.o \
				src/model/model_catalog.o \
				src/model/model_condition.o \
				src/model/model_create.o \
				src/model/model_define.o \
				src/model/model_failure.o \
				src/model/model_kept.o \
				src/model/model_publish.o \
				src/model/model_session.o \
				src/model/model_swap.o \
				src/model/model_query.o \
				src/model/model_report.o \
				src/model/eval_cache.o \
				src/model/eval_function.o \
				src/model/model_version.o \
				src/model/model_overflow.o \
				src/model/model_past.o \
				src/model/model_keep.o \
				src/model/model_backtest.o \
				src/model/model_changes.o \
				src/model/model_exchange.o \
				src/model/eval_fold.o \
				src/model/eval_rows.o \
				src/model/eval_scan.o
OBJS_live =		src/live/live_alter.o \
				src/live/live_attach.o \
				src/live/live_band.o \
				src/live/live_cool.o \
				src/live/live_eval.o \
				src/live/live_fold.o \
				src/live/live_index.o \
				src/live/live_model.o \
				src/live/live_outbox.o \
				src/live/live_partition.o \
				src/live/live_rebuild.o \
				src/live/live_record.o \
				src/live/live_row.o \
				src/live/live_statement.o \
				src/live/live_store.o \
				src/live/live_trigger.o \
				src/live/live_truncate.o
OBJS_pipeline =	src/pipeline/pipeline_catalog.o \
				src/pipeline/pipeline_load.o \
				src/pipeline/pipeline_cache.o \
				src/pipeline/pipeline_guard.o \
				src/pipeline/pipeline_move.o \
				src/pipeline/pipeline_history.o \
				src/pipeline/pipeline_batch.o \
				src/pipeline/pipeline_stored.o \
				src/pipeline/pipeline_trigger.o \
				src/pipeline/pipeline_enforce.o \
				src/pipeline/pipeline_ask.o \
				src/pipeline/pipeline_define.o \
				src/pipeline/pipeline_check.o \
				src/pipeline/pipeline_session.o \
				src/pipeline/pipeline_audit.o \
				src/pipeline/pipeline_partition.o
OBJS_analytics =	src/analytics/columns.o \
				src/analytics/query.o \
				src/analytics/receive.o \
				src/analytics/valuemap.o \
				src/analytics/journey.o \
				src/analytics/stats.o \
				src/analytics/report.o \
				src/analytics/funnel.o \
				src/analytics/tables.o \
				src/analytics/attribution.o \
				src/analytics/forecast.o \
				src/analytics/velocity.o \
				src/analytics/timeline.o \
				src/analytics/window_funnel.o

SQL_PARTS =		src/leadscore.sql \
				src/stage/stage.sql \
				src/stage/stage_gist.sql \
				src/score/score.sql \
				src/score/rank.sql \
				src/model/model.sql \
				src/model/eval.sql \
				src/model/versions.sql \
				src/model/past.sql \
				src/model/exchange.sql \
				src/live/live.sql \
				src/pipeline/pipeline.sql \
				src/pipeline/lifecycle.sql \
				src/pipeline/define.sql \
				src/pipeline/history.sql \
				src/analytics/analytics.sql \
				src/analytics/reports.sql

REGRESS_base =	install catalog
REGRESS_stage =	stage
REGRESS_score =	score_io score_algebra score_order score_agg score_laws score_rank score_gist
REGRESS_model =	model_eval model_define model_keys model_score model_fit model_version model_past model_exchange model_scan model_backtest model_many model_failure model_security
REGRESS_live =	live_bulk live_dml live_crossing live_keys live_tables live_alter live_partition live_errors live_kept live_security
REGRESS_pipeline =	pipeline_lifecycle pipeline_define pipeline_audit pipeline_dml pipeline_order pipeline_batch pipeline_strict pipeline_security pipeline_score
REGRESS_analytics =	analytics_funnel analytics_window_funnel \
					analytics_velocity analytics_reports \
					analytics_forecast analytics_own

ISOLATION = live_writers live_order live_truncate live_kept live_publish live_readers live_record live_partition model_alter stage_race

OBJS = $(OBJS_base) $(OBJS_stage) $(OBJS_score) $(OBJS_model) $(OBJS_live) \
	$(OBJS_pipeline) $(OBJS_analytics)
REGRESS = $(REGRESS_base) $(REGRESS_stage) $(REGRESS_score) $(REGRESS_model) \
	$(REGRESS_live) $(REGRESS_pipeline) $(REGRESS_analytics)

DATA = $(wildcard $(LS_SRC)/src/upgrade/*.sql)
DATA_built = build/$(EXTENSION)--$(EXTVERSION).sql
EXTRA_CLEAN = build

# the server's headers as system headers: their warnings are not ours to mend
PG_CPPFLAGS = -I$(LS_SRC)/src -isystem $(shell $(PG_CONFIG) --includedir-server)
PG_CFLAGS = -Wall -Wextra -fvisibility=hidden $(LS_CFLAGS)

REGRESS_OPTS = --encoding=UTF8 --inputdir=$(LS_SRC) --outputdir=build
ISOLATION_OPTS = --inputdir=$(LS_SRC)/test/isolation --outputdir=build/isolation
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

LS_COMMANDS = demo demo-stop check bench soak fuzz matrix fresh regress docs
ifneq ($(filter $(LS_COMMANDS),$(MAKECMDGOALS)),)
include $(LS_SRC)/test/commands.mk
else

PG_CONFIG ?= pg_config
ifeq ($(shell command -v $(PG_CONFIG)),)
$(error $(PG_CONFIG) not found: install postgresql-server-dev-15, or try "make demo", which installs what it needs)
endif
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# ageing needs the precision of plain IEEE doubles; never -ffast-math
$(OBJS): $(wildcard $(LS_SRC)/src/*.h $(LS_SRC)/src/*/*.h) | $(addprefix build/dir/,$(sort $(dir $(OBJS))))
build/dir/%:
	@mkdir -p $* $@

$(DATA_built): $(addprefix $(LS_SRC)/,$(SQL_PARTS)) $(LS_SRC)/leadscore.control
	@mkdir -p build
	cat $(addprefix $(LS_SRC)/,$(SQL_PARTS)) > $@

print-%:
	@echo $($*)
endif
