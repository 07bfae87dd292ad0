"""Makes one JSON document of run.sh's steps; ends with 1 when one of them failed."""

import json
import pathlib
import sys


def main(folder, dry):
    steps = []
    for path in sorted(pathlib.Path(folder).glob("*.step")):
        name, status, seconds = path.read_text().splitlines()
        said = path.with_suffix(".out").read_text(errors="replace").strip()
        complained = path.with_suffix(".err").read_text(errors="replace").strip()
        step = {"name": name, "status": status, "seconds": int(seconds)}
        if said:
            try:
                step["result"] = json.loads(said)
            except ValueError:
                step["output"] = said[-2000:]
        if complained:
            step["messages"] = complained[-2000:]
        steps.append(step)
    device = next((step.get("result") for step in steps if step["name"] == "device"), None)
    counts = {status: sum(step["status"] == status for step in steps) for status in ("passed", "failed", "planned")}
    print(json.dumps({"device": device, "dry_run": dry == "1", **counts, "steps": steps}, indent=1))
    return 1 if counts["failed"] or not steps else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
