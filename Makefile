.PHONY: up test test-torch test-stubs bench check lint

up:            ## .venv, everything installed, a local cluster in the foreground
	scripts/install
	.venv/bin/shoal up

test:          ## install what the tests need and run them all
	scripts/install dev
	scripts/test

test-torch:    ## PyTorch over the official SDK's datasets; installs torch, several GB
	scripts/install dev
	scripts/install torch
	scripts/test tests/torch

test-stubs:    ## the examples in other languages, where their toolchains are there
	scripts/install dev
	scripts/test-stubs

bench:         ## Shoal, SeaweedFS, rclone and nginx in turn on the same work; needs wrk and nginx (docs/bench.md)
	scripts/install bench
	cd bench && ../.venv/bin/python -m shoal_bench

check:         ## format, lint, types, layers, protos, generated code, style
	scripts/install dev
	scripts/check

lint:          ## mend what tools can mend
	scripts/lint
