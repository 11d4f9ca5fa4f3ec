.PHONY: up test test-stubs check lint

up:            ## .venv, everything installed, a local cluster in the foreground
	scripts/install
	.venv/bin/shoal up

test:          ## install what the tests need and run them all
	scripts/install dev
	scripts/test

test-stubs:    ## the examples in other languages, where their toolchains are there
	scripts/install dev
	scripts/test-stubs

check:         ## format, lint, types, layers, protos, generated code, style
	scripts/install dev
	scripts/check

lint:          ## mend what tools can mend
	scripts/lint
