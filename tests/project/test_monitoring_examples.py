"""The examples speak of metrics that exist, and promtool accepts and tries the rules."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from chef_failover.metrics.counters import Counters
from chef_failover.metrics.measured import Measured
from chef_failover.model.run_history import RunHistory
from tests.support.builders import world
from tests.support.parts import require_program

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "packaging" / "examples"
ALERTS = EXAMPLES / "prometheus" / "alerts.yml"
DASHBOARD = EXAMPLES / "grafana" / "chef-failover.json"
AGENT = EXAMPLES / "cloudwatch" / "amazon-cloudwatch-agent.json"
SCRAPES = (ALERTS.parent / "scrape.yml", AGENT.parent / "chef-failover-prometheus.yml")
NAME = re.compile(r"\bchef_failover_[a-z_]+")


def families():
    measured = Measured(
        version="1", snapshot=world(), history=RunHistory(), runs_under_way=0, faults=0, fingerprint=1, now=0.0,
    )  # fmt: skip
    return list(Counters(measure=lambda: measured).registry.collect())


def series():
    """Every name that a sample can have."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",), "gauge": ("",)}
    return {family.name + suffix for family in families() for suffix in suffixes[family.type]}


def queries():
    def walk(panels):
        for panel in panels:
            yield from (target["expr"] for target in panel.get("targets", ()))
            yield from walk(panel.get("panels", ()))

    dashboard = json.loads(DASHBOARD.read_text())
    yield from walk(dashboard["panels"])
    yield from (one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query")


def rules():
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize(
    "used",
    [
        {name for query in queries() for name in NAME.findall(query)},
        {name for rule in rules() for name in NAME.findall(rule["expr"])},
        set(NAME.findall((EXAMPLES / "prometheus" / "alerts_test.yml").read_text())) - {"chef_failover"},
        set(NAME.findall(AGENT.read_text())),
    ],
    ids=["dashboard", "alerts", "alert tests", "CloudWatch agent"],
)
def test_every_metric_that_is_used_exists(used):
    assert used
    assert used <= series()


def test_every_metric_is_documented_and_nothing_else():
    told = re.findall(r"^\| `(chef_failover_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), flags=re.MULTILINE)
    suffix = {"counter": "_total", "info": "_info"}
    assert told == [family.name + suffix.get(family.type, "") for family in families()]


def test_names_follow_the_conventions():
    for family in families():
        assert family.name.startswith("chef_failover_")
        assert family.documentation.endswith(".")
        units = ("_seconds", "_info", "_total")
        assert family.type != "histogram" or family.name.endswith(units), family.name
        assert not re.search(r"_(ms|milliseconds|minutes|hours|count|total)$", family.name), family.name


def test_every_alert_says_what_it_is_and_what_to_do_and_is_tried():
    tests = yaml.safe_load((EXAMPLES / "prometheus" / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    quiet = {case["alertname"] for test in tests for case in test["alert_rule_test"] if not case["exp_alerts"]}
    for rule in rules():
        assert rule["labels"].keys() == {"severity"}
        assert rule["annotations"].keys() == {"summary", "description"}
    assert fired == {rule["alert"] for rule in rules()}
    assert quiet <= fired


def promtool(*arguments):
    path = require_program("promtool", "prometheus")
    done = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules_and_the_scrape_jobs():
    assert "SUCCESS" in promtool("check", "rules", ALERTS)
    for scrape in SCRAPES:
        assert "SUCCESS" in promtool("check", "config", scrape)


@pytest.mark.parametrize("scrape", SCRAPES, ids=lambda path: path.name)
def test_each_node_has_an_instance_of_its_own(scrape):
    def instance(node):
        filled = yaml.safe_load(scrape.read_text().replace("NODE_NAME", node))
        ((job,),) = (one["static_configs"] for one in filled["scrape_configs"])
        assert job["targets"] == ["127.0.0.1:8473"]
        return job["labels"]["instance"]

    assert [instance(node) for node in ("web-1", "web-2")] == ["web-1", "web-2"]
    assert 'sed -i "s/NODE_NAME/' in scrape.read_text()


def test_promtool_s_unit_tests_of_the_rules_pass():
    assert "SUCCESS" in promtool("test", "rules", ALERTS.parent / "alerts_test.yml")


def test_promtool_can_read_every_query_of_the_dashboard(tmp_path):
    filled = [re.sub(r"\$__rate_interval", "5m", query) for query in queries() if not query.startswith("label_values")]
    assert len(filled) > 15
    document = {"groups": [{"name": "dashboard", "rules": [
        {"record": f"query_{number}", "expr": query} for number, query in enumerate(filled)
    ]}]}  # fmt: skip
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump(document))
    promtool("check", "rules", path)


def declarations():
    agent = json.loads(AGENT.read_text())
    return agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"]["metric_declaration"]


def test_cloudwatch_gets_the_fleets_figures_and_two_of_each_node():
    of_a_node = [
        (name, dimensions)
        for declaration in declarations()
        for name in declaration["metric_selectors"]
        for dimensions in declaration["dimensions"]
        if "instance" in dimensions
    ]
    assert all(dimensions == ["instance"] for _, dimensions in of_a_node)  # else each counts more than once
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert re.search(r"^\| (\d+), as the configuration has it", page, flags=re.MULTILINE)[1] == str(len(of_a_node))


def test_what_cloudwatch_costs_is_reckoned_by_its_prices():
    page = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| (\d+)\b.* \| ([\d,]+) USD \| ([\d,]+) USD \|$", page, flags=re.MULTILINE)
    assert len(rows) == 4
    for metrics, *costs in rows:
        for nodes, cost in zip((100, 1000), costs, strict=True):
            count = int(metrics) * nodes
            expected = 0.3 * min(count, 10_000) + 0.1 * max(count - 10_000, 0)
            assert float(cost.replace(",", "")) == pytest.approx(expected)


def test_what_cloudwatch_tells_apart_are_labels_of_the_metric():
    page = (ROOT / "docs" / "metrics.md").read_text()
    labels = dict(re.findall(r"^\| `(chef_failover_\w+)` \| \w+ \| (.*?) ?\|", page, flags=re.MULTILINE))
    for declaration in declarations():
        for name in declaration["metric_selectors"]:
            wanted = {one for dimensions in declaration["dimensions"] for one in dimensions} - {"instance", "job"}
            assert wanted <= set(re.findall(r"`(\w+)`", labels[name.strip("^$")]))


def test_panels_do_not_overlap_and_have_their_own_numbers():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places, panel["title"]
        assert max(x for x, _ in cells) < 24
        places |= cells
