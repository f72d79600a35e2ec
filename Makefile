# Thin over bootstrap.py, which does its own set-up. Arguments of a verb: make test ARGS="-k gate"
PYTHON ?= python3
ARGS ?=

.PHONY: help install demo test check bench soak docs clean

help:
	@$(PYTHON) bootstrap.py help

install demo test check bench soak docs clean:
	@$(PYTHON) bootstrap.py $@ $(ARGS)
