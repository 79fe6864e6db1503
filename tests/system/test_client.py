"""farmctl from outside: what it refuses, in which words, with which exit code."""
import itertools
import json
import os
import signal
import stat
import subprocess
import time

import pytest

from farm import BIN, PATIENCE, SOURCE, unsigned, until
from ports import free_port

USAGE, UNREACHABLE, DENIED = 2, 3, 4


def one_sentence(text):
    lines = text.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("farmctl: "), text
    return lines[0]


@pytest.mark.parametrize("arguments, says", [
    (["bogus"], 'no command "bogus"'),
    (["render"], "there is no prompt"),
    (["render", "--stepz", "4", "x"], "no option --stepz"),
    (["render", "--steps", "0", "x"], "from 1 to 1000"),
    (["render", "--steps", "many", "x"], '"many" is not a whole number'),
    (["render", "--cfg", "nan", "x"], '"nan" is not a number'),
    (["render", "--sampler", "Eulr", "x"], "Euler, Euler a, Heun, LMS"),
    (["render", "--schedule", "x", "x"], "Automatic, Normal, Karras"),
    (["render", "--size", "0x0", "x"], "out of range"),
    (["render", "--size", "100000x64", "x"], "out of range"),
    (["render", "--size", "64", "x"], "is not WIDTHxHEIGHT"),
    (["render", "--seed", "5..1", "x"], "ends before it begins"),
    (["render", "--seed", "x", "x"], '"x" is no seed'),
    (["render", "--seed", "0..99999999", "x"], "10000000 images"),
    (["render", "--axis", "cfg", "x"], "KEY=V1,V2"),
    (["render", "--axis", "colour=red", "x"], 'no option "colour"'),
    (["render", "--axis", "cfg=1", "--cfg", "2", "x"], "cfg: is given twice"),
    (["render", "--axis", "cfg=@/nonexistent", "x"], "/nonexistent: No such file"),
    (["render", "--from", "/nonexistent"], "/nonexistent: No such file"),
    (["render", "--name", "{colour}", "x"], "no field {colour}"),
    (["render", "{a|b"], "is not closed"),
    (["render", b"\xff\xfe"], "not UTF-8"),
    (["render", "a", "red", "cat", "runs"], "put quotes"),
    (["render", "--seed", "0..2000", "x"], "--yes"),
    (["render", "--local", "--farm", "x", "x"], "exclude each other"),
    (["submit", "x"], "no farm was joined"),
    (["jobs", "--farm", "elsewhere"], 'no farm "elsewhere" was joined'),
    (["fetch"], "something is missing"),
    (["fetch", "last", "--name", "../x"], "cannot be a file's name"),
    (["grid", "last"], "-o FILE is missing"),
    (["info", "/nonexistent.png"], "No such file"),
    (["info", str(SOURCE / "README.md")], "no PNG file"),
    (["token", "new"], "--role is missing"),
    (["token", "new", "--role", "king"], 'no "king"'),
    (["token", "new", "--role", "worker", "--ttl", "soon"], "is no time like"),
    (["join", "nonsense"], "neither a token"),
    (["join", "clfarm1-nonsense"], "token"),
])
def test_wrong_usage_is_one_sentence_and_exit_2(bare_farm, arguments, says):
    done = subprocess.run([BIN / "farmctl", *arguments], env=bare_farm.env,
                          capture_output=True, text=True, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == USAGE, done
    assert done.stdout == ""
    assert says in one_sentence(done.stderr)


@pytest.mark.parametrize("text, says", [
    ('{"prompt": ', "line 1"),
    ('{"prompt": "x", "stepz": 4}', 'no option "stepz"'),
    ('{"prompt": "x", "steps": {}}', "must be a text or a number"),
    ('{"prompt": "x", "axis": []}', '"axis" must be an object'),
    ("\x00\x01", "no text file"),
    ("", "there is no prompt"),
])
def test_a_broken_job_file_is_one_sentence(bare_farm, text, says):
    path = bare_farm.folder / "job"
    path.write_text(text)
    assert says in one_sentence(bare_farm.ctl("render", "--from", path, status=USAGE))


def test_a_dry_run_needs_no_farm(bare_farm):
    out = bare_farm.ctl("render", "--dry-run", "--json", "--seed", "0..4",
                        "--axis", "cfg=1,2", "a {b|c}", "d")
    job = json.loads(out)
    assert job["tasks"] == 5 * 2 * 3
    assert job["prompt"] == ["a {b|c}", "d"] and job["axis"] == {"cfg": ["1", "2"]}


def joined(farm):
    return farm.folder / "config/clfarm/farms"


def only_farm(farm):
    """The folder of the one farm that farmctl joined by itself."""
    farm.ctl("jobs")
    (folder,) = joined(farm).iterdir()
    return folder


def test_a_farm_that_does_not_answer_is_exit_3(farm):
    conf = only_farm(farm) / "farm.conf"
    lines = conf.read_text().splitlines()
    conf.write_text("\n".join([f"tcp://127.0.0.1:{free_port()}", *lines[1:]]) + "\n")
    assert "127.0.0.1" in one_sentence(farm.ctl("jobs", status=UNREACHABLE))


def test_a_farm_that_is_too_busy_to_greet_at_once_is_waited_for(farm):
    only_farm(farm)
    farm.coordinator.signal(signal.SIGSTOP)
    jobs = farm.start([BIN / "farmctl", "jobs", "--json"], "jobs")
    time.sleep(6)  # longer than for one that is not there
    assert jobs.running(), jobs.log()
    farm.coordinator.signal(signal.SIGCONT)
    assert jobs.popen.wait(PATIENCE) == 0, jobs.log()


def test_a_key_others_may_read_is_refused_with_its_mode(farm):
    key = only_farm(farm) / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o644)
    done = subprocess.run([BIN / "farmctl", "jobs"], env=farm.env, capture_output=True,
                          text=True, timeout=PATIENCE)
    assert done.returncode not in (0, UNREACHABLE)
    assert "chmod" in one_sentence(done.stderr)


def stay_admin(farm):
    """Commands go on speaking as the administrator when other farms are joined."""
    farm.env["CLFARM_FARM"] = only_farm(farm).name


def test_a_token_is_good_for_one_key(farm):
    stay_admin(farm)
    token = farm.token("observer")
    farm.ctl("join", "-", "--as", "first", input=token)
    assert "used" in one_sentence(
        farm.ctl("join", "-", "--as", "second", input=token, status=DENIED))
    assert "joined already" in one_sentence(
        farm.ctl("join", "-", "--as", "first", input=farm.token("observer"),
                 status=USAGE))
    assert [each["farm"] for each in farm.ctl_json("farms")].count("first") == 1


def test_an_expired_token_is_refused(farm):
    stay_admin(farm)
    token = farm.token("observer", "--ttl", "1s")
    late = (f"late-{number}" for number in itertools.count())
    until(lambda: "this token expired" in subprocess.run(
        [BIN / "farmctl", "join", token, "--as", next(late)], env=farm.env,
        capture_output=True, text=True, timeout=PATIENCE).stderr, "the token is refused")


def test_an_observer_may_look_and_not_submit(farm):
    stay_admin(farm)
    farm.ctl("join", farm.token("observer"), "--as", "looking")
    farm.ctl("jobs", "--farm", "looking")
    one_sentence(farm.ctl("submit", "--farm", "looking", "--model", "tiny", "x",
                          status=DENIED))


def test_a_model_the_farm_does_not_know_is_named(farm):
    assert "nomodel" in one_sentence(
        farm.ctl("submit", "--model", "nomodel", "x", status=USAGE))


def test_a_size_that_is_no_multiple_of_the_factor_is_refused(farm):
    assert "65x64" in one_sentence(
        farm.ctl("submit", "--model", "tiny", "--size", "65x64", "x", status=USAGE))


def test_an_unknown_job_is_named(farm):
    assert "nojob" in one_sentence(farm.ctl("show", "nojob", status=USAGE))


def test_an_output_folder_that_cannot_be_written_is_named(farm):
    job = farm.submit("x")
    in_the_way = farm.folder / "file"
    in_the_way.write_text("")
    assert str(in_the_way) in one_sentence(
        farm.ctl("fetch", job, "-o", in_the_way / "below", status=USAGE))


def test_interrupting_a_render_detaches_and_the_job_goes_on(farm):
    render = farm.start([BIN / "farmctl", "render", "--model", "tiny", "--label", "going",
                         "-o", farm.folder / "out", "x"], "render")
    until(lambda: farm.ctl_json("jobs"), "the job is there")
    render.signal(signal.SIGINT)
    assert render.popen.wait(PATIENCE) == 130
    assert "farmctl watch" in render.log()
    assert farm.ctl_json("show", "going")["state"] == "open"


def test_interrupting_twice_cancels(farm):
    render = farm.start([BIN / "farmctl", "render", "--model", "tiny", "--label", "going",
                         "-o", farm.folder / "out", "x"], "render")
    until(lambda: farm.ctl_json("jobs"), "the job is there")
    render.signal(signal.SIGINT)
    until(lambda: "detached" in render.log(), "it said so")
    render.signal(signal.SIGINT)
    assert render.popen.wait(PATIENCE) == 130
    assert farm.ctl_json("show", "going")["state"] == "canceled"


def test_what_info_prints_is_a_job_that_makes_the_same_picture(farm):
    farm.worker("one")
    out = farm.folder / "out"
    farm.ctl("render", "--model", "tiny", "--size", "64x64", "--steps", "2", "--seed",
             "7", "--negative", "b", "-o", out, "a \\{b|c\\} cat")
    first = (out / "00000-7.png").read_bytes()
    info = farm.ctl_json("info", out / "00000-7.png")
    assert info["fields"]["Seed"] == "7"
    assert info["parameters"].startswith("a {b|c} cat\nNegative prompt: b\nSteps: 2")
    again = farm.folder / "again"
    job = dict(info["job"], force=True)
    farm.ctl("render", "--from", "-", "-o", again, input=json.dumps(job))
    assert unsigned((again / "00000-7.png").read_bytes()) == unsigned(first)


def test_fetch_mends_what_is_missing_or_damaged_and_keeps_the_rest(farm):
    farm.worker("one")
    job = farm.submit("--steps", 1, "--seed", "0..2", "x")
    farm.ctl("wait", job)
    out = farm.folder / "out"
    assert farm.ctl_json("fetch", job, "-o", out)["fetched"] == 3
    whole = (out / "00001-1.png").read_bytes()
    (out / "00001-1.png").write_bytes(whole[:-9] + b"damage   ")
    (out / "00002-2.png").unlink()
    again = farm.ctl_json("fetch", job, "-o", out)
    assert (again["fetched"], again["already_there"]) == (2, 1)
    assert (out / "00001-1.png").read_bytes() == whole
    assert sorted(os.listdir(out)) == ["00000-0.png", "00001-1.png", "00002-2.png"]


def test_a_fetch_cut_by_kill_9_leaves_nothing_to_the_next_that_is_not_used(farm):
    farm.worker("one")
    job = farm.submit("--steps", 1, "--seed", "0..2", "x")
    farm.ctl("wait", job)
    out = farm.folder / "out"

    def hidden():
        return list(out.glob(".clfarm-*"))

    killed = farm.start([BIN / "farmctl", "fetch", job, "-o", out], "killed",
                        FARM_FAULT="farmctl-before-name")
    assert killed.popen.wait(PATIENCE) == -signal.SIGKILL
    (left,) = hidden()
    slow = farm.start([BIN / "farmctl", "fetch", job, "-o", out], "slow",
                      FARM_DELAY="farmctl-before-name:1500")
    until(lambda: left not in hidden() and hidden(), "it has a folder of its own")
    slow.signal(signal.SIGSTOP)
    (own,) = hidden()
    farm.ctl("fetch", job, "-o", out)
    assert hidden() == [own]  # nobody takes it from one that lives
    slow.signal(signal.SIGCONT)
    assert slow.popen.wait(PATIENCE) == 0
    assert sorted(os.listdir(out)) == ["00000-0.png", "00001-1.png", "00002-2.png"]


def test_a_contact_sheet_has_every_picture_and_its_labels(farm):
    farm.worker("one")
    farm.ctl("render", "--model", "tiny", "--size", "64x64", "--steps", "1", "--label",
             "sheet", "--seed", "0..2", "-o", farm.folder / "out", "a {red|blue} cat")
    sheet = farm.folder / "sheet.png"
    made = farm.ctl_json("grid", "sheet", "-o", sheet)
    assert (made["rows"], made["columns"]) == (2, 3)
    assert subprocess.run(["pngcheck", "-q", sheet]).returncode == 0


def test_the_manual_page_is_good_roff_and_has_every_command(bare_farm):
    page = bare_farm.ctl("help", "--man")
    read = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, text=True,
                          capture_output=True)
    assert read.returncode == 0 and not read.stderr, read.stderr
    for line in bare_farm.ctl("help").splitlines():
        if line.startswith("  "):
            name = line.split()[0]
            assert f'.SS "{name}' in page, name


def complete(farm, *words):
    """What bash offers for the last of the words."""
    script = farm.folder / "completion"
    script.write_text(farm.ctl("help", "--completion"))
    done = subprocess.run(
        ["bash", "-c", 'source "$1"; shift; COMP_WORDS=(farmctl "$@"); COMP_CWORD=$#; '
         '_farmctl; printf "%s\\n" "${COMPREPLY[@]}"', "-", script, *words],
        capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_the_shell_completes_commands_options_and_values(bare_farm):
    assert {"render", "revoke"} <= set(complete(bare_farm, "re"))
    assert "--steps" in complete(bare_farm, "render", "--st")
    assert complete(bare_farm, "token", "new", "--ro") == ["--role"]
    assert complete(bare_farm, "jobs", "--st") == [""]
    assert sorted(complete(bare_farm, "render", "--precision", "f")) == ["f16", "f32"]
    assert "DPM++\\ 2M" in complete(bare_farm, "render", "--sampler", "DPM")


def test_audit_verify_names_the_line_that_was_changed(bare_farm):
    bare_farm.start_coordinator()
    bare_farm.token()
    told = bare_farm.ctl_json("audit", "verify")
    assert told["lines"] >= 3 and told["cut"] == 0
    bare_farm.ctl("audit", "verify", "--head", told["head"])
    bare_farm.token()
    bare_farm.ctl("audit", "verify", "--head", told["head"])
    assert bare_farm.ctl("audit").count("\n") == told["lines"] + 1
    log = bare_farm.folder / "state/clfarm/coordinator/audit.log"
    whole = log.read_text()
    log.write_text(whole.replace("joined", "Joined", 1))
    assert "line 2 was changed" in bare_farm.ctl("audit", "verify", status=1)
    log.write_text("".join(whole.splitlines(True)[:-2]))
    bare_farm.ctl("audit", "verify")
    assert "were removed" in bare_farm.ctl("audit", "verify", "--head", told["head"], status=1)


def test_metrics_are_printed_and_a_member_is_given_another_role(bare_farm):
    bare_farm.start_coordinator()
    text = bare_farm.ctl("metrics")
    assert text.endswith("# EOF\n") and "clfarm_messages_total" in text
    assert bare_farm.ctl_json("metrics")["openmetrics"].endswith("# EOF\n")
    bare_farm.join("one")
    name = next(key["name"] for key in bare_farm.ctl_json("keys") if key["role"] == "worker")
    bare_farm.ctl("role", name, "observer")
    assert {key["name"]: key["role"] for key in bare_farm.ctl_json("keys")}[name] == "observer"
    assert "no \"king\"" in bare_farm.ctl("role", name, "king", status=USAGE)


def test_a_model_to_fetch_is_named_by_its_id(bare_farm):
    bare_farm.start_coordinator()
    bare_farm.join("one")
    assert bare_farm.run_worker("one", "fetch", "emoji").returncode == USAGE
    missing = bare_farm.run_worker("one", "fetch", "0" * 64)
    assert missing.returncode == USAGE and "no such model" in missing.stderr
