"""farmctl's commands that steer and look, against a real coordinator; no device is needed
but for one test."""
import json

from farm import until

USAGE = 2


def test_a_job_is_paused_steered_canceled_retried_and_removed(farm):
    job = farm.submit("--seed", "0..2", "--priority", "-5", "a cat")
    assert farm.ctl_json("jobs")[0]["priority"] == -5
    farm.ctl("priority", "last", "-7")
    farm.ctl("pause", job)
    shown = farm.ctl_json("jobs")[0]
    assert (shown["priority"], shown["paused"], shown["state"]) == (-7, True, "open")
    assert "paused" in farm.ctl("jobs")
    farm.ctl("resume", job)
    assert not farm.ctl_json("jobs")[0]["paused"]
    assert "cancel it before" in farm.ctl("rm", job, status=USAGE)
    farm.ctl("cancel", job)
    assert farm.ctl_json("jobs")[0]["state"] == "canceled"
    farm.ctl("retry", job)
    assert farm.ctl_json("jobs")[0]["state"] == "open"
    farm.ctl("cancel", job)
    farm.ctl("rm", job)
    assert farm.ctl_json("jobs") == []
    assert "no job" in farm.ctl("show", job, status=USAGE)


def test_a_wrong_priority_is_one_sentence(farm):
    job = farm.submit("a cat")
    assert '"high" is not a whole number' in farm.ctl("priority", job, "high", status=USAGE)
    assert "from -1000 to 1000" in farm.ctl("priority", job, "1001", status=USAGE)


def test_a_job_past_its_deadline_is_shown_late_and_goes_on(farm):
    job = farm.submit("--deadline", "1s", "a cat")
    farm.submit("--deadline", "2h", "a dog")
    due = {row["job"]: row["deadline"] for row in farm.ctl_json("jobs")}
    assert 7199 <= max(due.values()) - min(due.values()) < 7900  # one was asked for later
    until(lambda: [row["late"] for row in farm.ctl_json("jobs")] == [False, True],
          "the one past its deadline is late")
    assert "open, late" in farm.ctl("jobs") and "open, late" in farm.ctl("show", job)
    assert farm.ctl_json("show", job)["specification"]["deadline"] == min(due.values())
    assert '"soon" is no time' in farm.ctl("submit", "--deadline", "soon", "x", status=USAGE)
    assert "has passed" in farm.ctl("submit", "--deadline", "2001-01-01", "x", status=USAGE)


def test_a_worker_is_drained_blocked_renamed_and_released(farm):
    farm.join("iris")
    name = next(key["name"] for key in farm.ctl_json("keys") if key["role"] == "worker")
    for command, state in (("drain", "offline"), ("undrain", "offline"),
                           ("block", "blocked: too hot"), ("unblock", "offline")):
        farm.ctl(command, name, *(["too hot"] if command == "block" else []))
        assert farm.ctl_json("nodes")[0]["state"] == state
    farm.ctl("rename", name, "elm")
    assert farm.ctl_json("nodes")[0]["name"] == "elm"
    assert 'no node "oak"' in farm.ctl("drain", "oak", status=USAGE)
    assert 'no job and no node "oak"' in farm.ctl("logs", "oak", status=USAGE)


def test_space_is_told_by_job_and_model_and_top_prints_one_frame(farm):
    farm.worker("one")
    job = farm.submit("--steps", 1, "--seed", "1..2", "a cat")
    farm.ctl("wait", job)
    told = farm.ctl_json("df")
    used = {use["kind"]: use for use in told["uses"]}
    assert used["job"]["id"] == job and used["job"]["files"] == 2
    assert used["job"]["bytes"] == sum(
        task["result"]["png_size"] for task in farm.tasks(job))
    assert used["model"]["name"] == "tiny" and told["free"] > 0
    assert "MIB" in farm.ctl("df")
    assert farm.ctl("logs", job, "--json") == ""
    frame = json.loads(farm.ctl("top", "--once", "--json"))
    assert len(frame["nodes"]) == 1 and frame["jobs"] == [] and frame["left"] == 0
    assert "1 of 1 nodes work" in farm.ctl("top", "--once")
    speed = until(lambda: farm.ctl_json("nodes")[0]["step_pixels_per_s"], "it is measured")
    assert speed > 0
