"""Run the benchmarks: ``python -m benchmarks [NAME …]``, or all of them."""

import importlib
import sys
from pathlib import Path

names = sys.argv[1:] or [
    path.stem.removeprefix("bench_") for path in sorted(Path(__file__).parent.glob("bench_*.py"))
]
for name in names:
    module = importlib.import_module(f"benchmarks.bench_{name}")
    print(f"\n## {name}: {(module.__doc__ or '').strip().splitlines()[0]}\n", flush=True)
    module.main()
