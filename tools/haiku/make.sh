#!/bin/sh
# Remakes examples/models/haiku.gguf from nothing and checks it.
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}
venv=build/venv
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/pip" install --quiet -r requirements.txt
"$venv/bin/python" -m unittest --quiet test_syllables test_corpus
"$venv/bin/python" train.py "$@"
"$venv/bin/python" export.py
"$venv/bin/python" evaluate.py
"$venv/bin/python" evaluate.py --chat
