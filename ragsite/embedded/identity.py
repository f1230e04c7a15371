"""As whom PostgreSQL runs: it refuses root, and its initdb refuses a user without an account.

docs/decisions/0003-embedded-servers.md says what was tried.
"""

import os
import pwd
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ragsite.embedded import kernel
from ragsite.embedded.errors import CannotStart

Change = Callable[[], None]


@dataclass(frozen=True)
class Identity:
    """``owner`` must own the data folder; ``assume`` runs in the forked child, before exec."""

    owner: int
    assume: Change | None


@cache
def postgres_identity() -> Identity:
    """The first way of running PostgreSQL that works for the present user on this machine.

    Raises CannotStart when there is none.
    """
    uid = os.geteuid()
    if uid != 0 and _has_account(uid):
        return Identity(owner=uid, assume=None)
    account = _unprivileged_account()
    for identity in (_in_user_namespace(uid, account), _as_account(account)):
        if _works(identity.assume):
            return identity
    if uid != 0:
        raise CannotStart(
            f"PostgreSQL needs a user with an account, and user id {uid} has none. Add one to /etc/passwd."
        )
    raise CannotStart(
        "PostgreSQL refuses to run as root, and this machine lets root neither make a user namespace nor become "
        "another user. Start ragsite as an ordinary user, or set DATABASE_URL to a PostgreSQL server of your own."
    )


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _unprivileged_account() -> pwd.struct_passwd:
    """`nobody` if there is one, else any that is not root."""
    accounts = [account for account in pwd.getpwall() if account.pw_uid != 0]
    if not accounts:
        raise CannotStart("PostgreSQL refuses to run as root, and this machine has no other account.")
    return next((account for account in accounts if account.pw_name == "nobody"), accounts[0])


def _in_user_namespace(uid: int, account: pwd.struct_passwd) -> Identity:
    """PostgreSQL sees the account's id, the file system sees ``uid``: nothing has to change owner."""
    return Identity(owner=uid, assume=lambda: kernel.enter_user_namespace(account.pw_uid, account.pw_gid))


def _as_account(account: pwd.struct_passwd) -> Identity:
    return Identity(owner=account.pw_uid, assume=lambda: kernel.become(account.pw_uid, account.pw_gid))


def _works(change: Change | None) -> bool:
    if not kernel.LINUX:
        return False
    try:
        return subprocess.run(["/bin/true"], preexec_fn=change, check=False).returncode == 0
    except (subprocess.SubprocessError, OSError):
        return False


def adopt(folder: Path, owner: int) -> None:
    """Give the folder and all in it to ``owner``: an earlier start may have used another way to run.

    Raises CannotStart when it belongs to somebody else and cannot be given away.
    """
    if folder.stat().st_uid == owner:
        return
    try:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, -1, follow_symlinks=False)
    except PermissionError as error:
        raise CannotStart(
            f"{folder} belongs to user id {folder.stat().st_uid}, not to you: ragsite was started there as another "
            f"user. Start it as that user again, or give the folder away first: sudo chown -R {owner} {folder}"
        ) from error
