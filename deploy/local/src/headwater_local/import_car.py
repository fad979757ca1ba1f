"""``headwater import``: one account's repo, from a CAR file on disk."""

from __future__ import annotations

from pathlib import Path

from headwater.car import MIB, CarReader
from headwater.commit import parse_commit
from headwater.errors import InvalidInputError
from headwater_local.errors import StackError
from headwater_local.follow import request_and_follow
from headwater_local.gateway import Accepted, Gateway
from headwater_local.settings import RunnerSettings


def import_file(settings: RunnerSettings, car: Path, did_key: str | None, days: int, *, as_json: bool) -> int:
    """Hand the repo in ``car`` to the gateway and follow the job. Returns the exit code.

    Raises StackError when the file cannot be read or holds no repo, and when the account has a job: that one's end
    would say nothing of the file.
    """
    did = did_of_repo(car)

    async def hand_in(gateway: Gateway) -> Accepted:
        accepted = await gateway.import_car(car, did, did_key, days)
        if accepted.already_running:
            raise StackError(f"not imported: job {accepted.job_id} of {did} runs; import it when that has ended")
        return accepted

    return request_and_follow(settings, hand_in, as_json=as_json)


def did_of_repo(car: Path) -> str:
    """The DID that the first commit in ``car`` names.

    Only to know whose job this is, which is why no more of the file is read than it takes: that file, commit and
    signature are right is for repo-backfill to find out, which refuses another account's repo. Raises StackError.
    """
    reader = CarReader()
    try:
        with car.open("rb") as file:
            while chunk := file.read(MIB):
                for _, block in reader.feed(chunk):
                    did = _did_of_commit(block)
                    if did is not None:
                        return did
    except OSError as error:
        raise StackError(f"cannot read {car}: {error.strerror}") from error
    except InvalidInputError as error:
        raise StackError(f"{car} is not the CAR file of a repo: {error}") from error
    raise StackError(f"{car} holds no commit, so it is not a repo")


def _did_of_commit(block: bytes) -> str | None:
    try:
        return parse_commit(block).did
    except InvalidInputError:
        return None
