"""The database: whether it answers, its version, its clock, and whether the key opens what it keeps."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reelq.cli.doctor.finding import Finding, Patient, ok, warning, wrong
from reelq.errors import SettingsError
from reelq.store import schema
from reelq.store.looking import looking, shown, trouble
from reelq.store.session import Store, database_url
from reelq.store.standing import check_key

ABOUT: Final = "database"
SKEW_SECONDS: Final = 60
_NETWORK: Final = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs")


def check_database(patient: Patient) -> Iterator[Finding]:
    """Everything about it that can be seen without writing."""
    try:
        url = database_url(patient.settings)
    except SettingsError as error:
        yield wrong(ABOUT, str(error), "Correct it (postgresql://USER:PASSWORD@HOST/NAME), or unset it to use SQLite.")
        return
    try:
        with looking(patient.settings) as store:
            if store is None:
                yield ok(ABOUT, f"{shown(url)}: none yet, made when work begins")
            else:
                yield from _look(patient, store)
    except Exception as error:
        if not (words := trouble(error)):
            raise
        yield wrong(ABOUT, f"{shown(url)} can't be used: {words}", "Start it, or correct REELQ_DATABASE_URL.")
    yield from _place(patient)


def _look(patient: Patient, store: Store) -> Iterator[Finding]:
    found = schema.revision(store)
    newest = schema.newest()
    if found == newest:
        yield ok(ABOUT, f"{shown(store.url)} (version {found})")
        yield from _clock(store)
        yield _key(patient, store)
    elif found is not None and schema.is_newer(found):
        what = f"{shown(store.url)} was made by a newer reelq (version {found}; this one knows {newest})"
        yield wrong(ABOUT, what, "Update reelq on this machine.")
    else:
        what = f"{shown(store.url)} is at version {found or 'none'}; this reelq works with {newest}"
        if store.is_sqlite:
            yield warning(ABOUT, what, "The next command that works on it migrates it, or do it now: reelq db upgrade")
        else:
            yield wrong(ABOUT, what, "Run `reelq db upgrade`.")


def _clock(store: Store) -> Iterator[Finding]:
    if store.is_sqlite:
        return
    with store.read() as session:
        skew = time.time() - store.now(session).timestamp()
    if abs(skew) > SKEW_SECONDS:
        yield skewed(skew, "the database's")


def skewed(skew: float, whose: str) -> Finding:
    """The clocks differ; who is right can't be told from here."""
    size = f"{abs(skew) / 3600:.1f} hours" if abs(skew) > 2 * 3600 else f"{abs(skew) / 60:.0f} minutes"
    what = f"this machine's clock is {size} {'ahead of' if skew > 0 else 'behind'} {whose}"
    mend = "Set it by the network (timedatectl set-ntp true); waits and the end of tokens are reckoned by it."
    return warning("clock", what, mend)


def _key(patient: Patient, store: Store) -> Finding:
    if patient.settings.reelq_secret_key is None and not store.is_sqlite:
        mend = "Set REELQ_SECRET_KEY, the same on every machine that uses this database."
        return wrong("key", "REELQ_SECRET_KEY is not set, and the database is shared", mend)
    try:
        count = check_key(store, patient.settings)
    except SettingsError as error:
        mend = "Set REELQ_SECRET_KEY to the key that was in use, or put secret.key back into the data folder."
        return wrong("key", str(error), mend)
    return ok("key", f"opens {'the one token' if count == 1 else f'all {count} tokens'} in the database")


def _place(patient: Patient) -> Iterator[Finding]:
    """What a database in a file can't do."""
    if patient.settings.reelq_database_url is not None:
        return
    mend = "Set REELQ_DATA_DIR to a folder on a local disk, or use PostgreSQL (REELQ_DATABASE_URL)."
    if kind := _network(patient.settings.reelq_data_dir):
        yield warning(
            ABOUT, f"the data folder is on a network drive ({kind}), where SQLite's locks can't be relied on", mend
        )
    if patient.settings.reelq_broker_url is not None:
        what = "a broker is set, but the database is a file on this machine: workers elsewhere can't share it"
        yield warning(
            ABOUT, what, "With workers on one machine all is well; for more, set REELQ_DATABASE_URL to PostgreSQL."
        )


def _network(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """The kind of the file system that a folder is on, where that is a network's; only Linux tells so plainly."""
    try:
        lines = [line.split() for line in mounts.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    over = [(len(place), kind) for _, place, kind, *_ in lines if folder.absolute().is_relative_to(place)]
    kind = max(over, default=(0, ""))[1]
    return kind if kind.startswith(_NETWORK) else ""
