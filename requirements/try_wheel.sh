#!/bin/sh
# Build the wheel, install it in an empty environment, and run its commands outside the checkout.
# Usage, from the checkout: requirements/try_wheel.sh PYTHON pip|uv
set -eu
python=$1 installer=$2 checkout=$(pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT INT TERM

echo "[1/4] the wheel, of a copy of the checkout"
mkdir "$place/copy"
tar --exclude=./.git --exclude='./.venv*' --exclude=./runs --exclude=./build --exclude='*.egg-info' -cf - . | tar -xf - -C "$place/copy"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$place/dist" "$place/copy"

echo "[2/4] every file that lies in a package is in the wheel"
"$python" - "$place/dist" <<'END'
import subprocess, sys, zipfile
from pathlib import Path
(wheel,) = Path(sys.argv[1]).glob("*.whl")
packages = ["moon_rec", "representation", "ranking", "exchange_rate"]
tracked = subprocess.run(["git", "ls-files", *packages], check=True, capture_output=True, text=True)
missing = sorted(set(tracked.stdout.split()) - set(zipfile.ZipFile(wheel).namelist()))
if missing:
    sys.exit(f"{wheel.name} lacks {', '.join(missing)}: name them in package-data of pyproject.toml")
END

echo "[3/4] an empty environment, with $installer"
venv=$place/venv
if [ "$installer" = uv ]; then
    uv venv --quiet --python "$python" "$venv"
    install="uv pip install --quiet --python $venv/bin/python"
    # as pip does: the CPU build of torch may lie on another index than PyPI
    any="--index-strategy unsafe-best-match ${PIP_FIND_LINKS:+--find-links $PIP_FIND_LINKS}"
else
    "$python" -m venv "$venv"
    install="$venv/bin/python -m pip install --quiet" any=
fi
$install $any --requirement requirements/cpu.txt
$install $any --no-deps --requirement requirements/torchrec.txt
$install --no-deps "$place"/dist/*.whl

echo "[4/4] its commands, in another folder"
mkdir "$place/elsewhere" && cd "$place/elsewhere"
unset PYTHONPATH
bin=$venv/bin
"$bin/python" -c "
import sys, exchange_rate, moon_rec, ranking, representation
for each in (exchange_rate, moon_rec, ranking, representation):
    assert each.__file__.startswith(sys.prefix), each.__file__"
"$bin/moon-rec" doctor --quiet
"$bin/moon-rec" shop simulate --out simulated --set num_users=60 --set num_items=80 --set num_requests=400
{
    echo user,item,time,clicked
    for hour in 10 11 12 13 14 15 16 17 18 19 20; do
        for item in a b c; do echo "u$((hour % 3)),$item,2024-05-20 $hour:00:00,$(((hour + ${#item}) % 2))"; done
    done
} > log.csv
"$bin/moon-rec" shop import interactions log.csv --out imported
"$bin/moon-rec" shop describe simulated > /dev/null
"$bin/moon-rec" shop describe imported > /dev/null
"$bin/python" -m ranking.train --help > /dev/null
"$bin/python" -m exchange_rate.report --help > /dev/null
"$bin/python" -m representation.embed --help > /dev/null
echo "the wheel installs with $installer, and its commands run outside $checkout"
