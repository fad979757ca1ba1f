"""Settings: from the environment and .env, refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.settings import EXIT_CONFIG, NetworkSettings, ServiceSettings, load_settings, unknown_variables


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("NATS_URL", "WORKER_ID", "WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)


def test_dotenv_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("NATS_URL=nats://one:1\nWORKER_COUNT=4\n")
    monkeypatch.setenv("NATS_URL", "nats://two:2")
    settings = load_settings(ServiceSettings)
    assert (settings.nats_url, settings.worker_count) == ("nats://two:2", 4)


@pytest.mark.parametrize(
    ("name", "value"), [("WORKER_ID", "x"), ("WORKER_ID", "-1"), ("WORKER_COUNT", "0"), ("HEALTH_PORT", "70000")]
)
def test_bad_values_are_said_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load_settings(ServiceSettings)
    assert ended.value.code == EXIT_CONFIG
    assert f"settings error: {name}:" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["PLC_URL", "HANDLE_RESOLVER_URL"])
@pytest.mark.parametrize("value", ["plc", "plc.directory", "ftp://plc.directory", "https://"])
def test_what_is_no_url_is_said_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load_settings(NetworkSettings)
    assert ended.value.code == EXIT_CONFIG
    assert f"settings error: {name}: Value error, {value!r} is not an http or https URL" in capsys.readouterr().err


def test_a_worker_beyond_the_count_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKER_ID", "2")
    monkeypatch.setenv("WORKER_COUNT", "2")
    with pytest.raises(SystemExit):
        load_settings(ServiceSettings)
    assert "WORKER_ID=2 needs WORKER_COUNT above it" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["environment", "dotenv"])
def test_unknown_headwater_variables_are_refused(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if where == "environment":
        monkeypatch.setenv("HEADWATER_HOEM", "/x")
    else:
        Path(".env").write_text("HEADWATER_HOEM=/x\n")
    with pytest.raises(SystemExit) as ended:
        load_settings(ServiceSettings)
    assert ended.value.code == EXIT_CONFIG
    assert "HEADWATER_HOEM: unknown setting" in capsys.readouterr().err


def test_other_variables_are_nobodys_business() -> None:
    assert unknown_variables(["PATH", "HEADWATER_HOME", "headwater_log_level"]) == []
