# The project's own commands. Each is a script of its own in test/, so that it
# can be read and run without make.
.PHONY: $(LS_COMMANDS)

check:
	@$(LS_SRC)/test/check

# one or a few regression tests: make regress REGRESS="score_io stage"
regress:
	@$(LS_SRC)/test/regress $(if $(filter command environment,$(firstword $(origin REGRESS))),$(REGRESS))
