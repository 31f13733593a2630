#!/usr/bin/env python3
"""The table and the picture of memory against depth, from the results beside them.

    python3 benches/memory/plot.py

Reads `benches/results/memory/{plans,resident}.json`, writes `depth.md` and `depth.svg` there. Needs Python alone.
"""
import json, pathlib

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "results/memory"
GIB = 2**30
KINDS = [("stored", "everything stored", "#b03030"), ("within", "within --memory 8GiB", "#3060b0"),
         ("least", "as little as possible", "#308050")]


def main():
    plans = json.loads((FOLDER / "plans.json").read_text())["plans"]
    resident = json.loads((FOLDER / "resident.json").read_text())["runs"]
    lines = ["Memory of a PGD-10 mixture step, batch 8 (8 clean and 8 adversarial images), 224x224, f32, in GiB: planned.",
             "", "| layers | stored: recording | stored: peak | 8GiB: peak | computed again | least: peak | computed again |",
             "|---|---|---|---|---|---|---|"]
    for plan in plans:
        m = plan["memory"]
        lines.append("| {} | {:.2f} | {:.2f} | {:.2f} | {:.1f} % | {:.2f} | {:.1f} % |".format(
            plan["layers"], m["stored"]["recording"] / GIB, m["stored"]["peak"] / GIB, m["within"]["peak"] / GIB,
            100 * m["within"]["computed_again"], m["least"]["peak"] / GIB, 100 * m["least"]["computed_again"]))
    lines += ["", "Planned and resident (the process's high-water mark), one process each:", "",
              "| run | planned GiB | resident GiB | ratio |", "|---|---|---|---|"]
    for run in resident:
        lines.append("| {} | {:.3f} | {:.3f} | {:.3f} |".format(
            run["what"], run["planned_peak"] / GIB, run["peak_rss_bytes"] / GIB, run["peak_rss_bytes"] / run["planned_peak"]))
    (FOLDER / "depth.md").write_text("\n".join(lines) + "\n")

    width, height, left, bottom = 640, 400, 60, 50
    x = lambda layers: left + (width - left - 20) * layers / 660
    y = lambda gib: height - bottom - (height - bottom - 20) * gib / 15
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    for gib in range(0, 16, 2):
        parts.append(f'<path d="M{left} {y(gib):.1f}H{width - 20}" stroke="#ddd"/><text x="{left - 8}" y="{y(gib) + 4:.1f}" text-anchor="end">{gib}</text>')
    for plan in plans:
        parts.append(f'<text x="{x(plan["layers"]):.1f}" y="{height - bottom + 18}" text-anchor="middle">{plan["layers"]}</text>')
    for row, (kind, name, colour) in enumerate(KINDS):
        points = [(x(plan["layers"]), y(plan["memory"][kind]["peak"] / GIB)) for plan in plans]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        parts.append(f'<text x="{left + 16}" y="{36 + 18 * row}" fill="{colour}">{name}</text>')
    parts += [f'<text x="{(left + width) / 2}" y="{height - 10}" text-anchor="middle">layers</text>',
              f'<text x="16" y="{height / 2}" transform="rotate(-90 16 {height / 2})" text-anchor="middle">GiB at most, planned</text>', "</svg>"]
    (FOLDER / "depth.svg").write_text("\n".join(parts) + "\n")


main()
