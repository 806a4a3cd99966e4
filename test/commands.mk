# The project's own commands. Each is a script of its own in test/, so that it
# can be read and run without make.
.PHONY: $(LS_COMMANDS)

# every test, or some steps of it: make check STEPS="static regress"
check:
	@$(LS_SRC)/test/check $(STEPS)

# one or a few regression tests: make regress REGRESS="score_io stage"
regress:
	@$(LS_SRC)/test/regress $(if $(filter command environment,$(firstword $(origin REGRESS))),$(REGRESS))

# the documentation's examples: make docs PAGES="README.md docs/models.md"
docs:
	@$(LS_SRC)/test/docs $(PAGES)

# a private cluster with a small CRM, shown in psql; DATA=<folder> for real data
demo:
	@DATA='$(DATA)' $(LS_SRC)/test/demo/run
demo-stop:
	@$(LS_SRC)/test/demo/stop

# the same tree on other PostgreSQL majors, in Debian chroots (root)
matrix:
	@$(LS_SRC)/test/matrix

# the README's two commands on a bare Debian 12, in a chroot (root)
fresh:
	@$(LS_SRC)/test/fresh

# measurements, as ratios in one run: make bench BENCH="model"
bench:
	@$(LS_SRC)/test/bench/run $(BENCH)

# the long forms of tests that make check runs briefly
soak:
	@$(LS_SRC)/test/soak/run
fuzz:
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-600} $(LS_SRC)/test/fuzz/run
