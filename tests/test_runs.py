from chef_failover.runs import FORGOTTEN_AFTER_S, RunReport, Runs


def test_a_failed_run_makes_us_look_at_its_server_at_once():
    looked = []
    runs = Runs(looked.append)
    runs.report(RunReport("1", "started", "main"))
    runs.report(RunReport("2", "succeeded", "main"))
    runs.report(RunReport("3", "failed"))
    assert looked == []
    runs.report(RunReport("1", "failed", "main", "NoMethodError"))
    assert looked == ["main"]


def test_a_run_whose_end_is_never_reported_is_forgotten_after_a_while():
    now = [0.0]
    runs = Runs(lambda name: None, clock=lambda: now[0])
    runs.report(RunReport("1", "started", "main"))
    now[0] = FORGOTTEN_AFTER_S - 1
    assert [run.run_id for run in runs.under_way] == ["1"]
    now[0] = FORGOTTEN_AFTER_S + 1
    assert runs.under_way == ()
